class Pruned: pass
def prune(): pass
