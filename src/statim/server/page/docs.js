"use strict";
// The API's description, as openapi.json has it.

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

function typeOf(schema, all) {
  if (!schema) return "";
  if (schema.$ref) return typeOf(all[schema.$ref.split("/").pop()], all);
  if (schema.anyOf) return [...new Set(schema.anyOf.map((one) => typeOf(one, all)))].join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${typeOf(schema.items, all) || "…"}]`;
  if (schema.type === "object" && schema.properties) {
    return `{${Object.entries(schema.properties).map(([name, one]) => `${name}: ${typeOf(one, all)}`).join(", ")}}`;
  }
  return schema.type ?? "any";
}

function fields(schema, all) {
  const found = schema.$ref ? all[schema.$ref.split("/").pop()] : schema;
  const rows = Object.entries(found.properties ?? {}).map(([name, one]) => {
    const given = found.required?.includes(name) ? "required" : one.default === undefined || one.default === null ? "" : `default ${JSON.stringify(one.default)}`;
    const about = [one.description, given].filter(Boolean).join("; ");
    return element("tr", {}, element("td", {}, element("code", {}, name)), element("td", {}, element("code", {}, typeOf(one, all))), element("td", {}, about));
  });
  return element("table", {}, element("tbody", {}, ...rows));
}

function operation(path, verb, about, all) {
  const code = (text, className) => element("code", { className }, text);
  const head = element("summary", {}, code(verb.toUpperCase(), "verb"), code(path, "path"), element("span", { className: "what" }, about.summary));
  const made = element("details", {}, head);
  const asked = about.requestBody?.content["application/json"].schema;
  if (asked) made.append(fields(asked, all));
  const answered = about.responses["200"]?.content?.["application/json"]?.schema;
  if (answered && typeOf(answered, all) !== "any") made.append(element("p", {}, "Answer: ", code(typeOf(answered, all), "")));
  const refused = Object.entries(about.responses).filter(([status]) => status >= "400");
  if (asked) made.append(element("p", { className: "what" }, refused.map(([status, one]) => `${status}: ${one.description}`).join(" · ")));
  return made;
}

async function start() {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  const api = await (await fetch("openapi.json")).json();
  const all = api.components.schemas;
  const sections = new Map();
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, about] of Object.entries(verbs)) {
      const tag = about.tags[0];
      if (!sections.has(tag)) sections.set(tag, []);
      sections.get(tag).push(operation(path, verb, about, all));
    }
  }
  const link = (href, text) => element("a", { href }, text);
  document.getElementById("api").replaceChildren(
    element("h1", {}, `${api.info.title} ${api.info.version}`),
    element("p", {}, api.info.description, " ", link("openapi.json", "openapi.json"), " · ", link("./", "Search")),
    ...[...sections].flatMap(([tag, made]) => [element("h2", {}, tag), ...made]),
  );
}

start();
