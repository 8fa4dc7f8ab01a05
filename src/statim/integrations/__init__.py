"""statim inside of other libraries, one file for each; a file needs the library that it is named after."""
