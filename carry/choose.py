"""Writes `chosen:` into params/mini/methods/NAME.yaml from tuning_methods.csv (all but DeAR)."""
import sys
from pathlib import Path
import pandas as pd
from dearlib.params.study import Group, read_study, run_settings
from dearlib.study import fair
from dearlib.study.plan import TABLE2
MINI = Path("params/mini")
ranked = fair.best(pd.read_csv(MINI / fair.FILE))
dear = read_study(MINI).groups[TABLE2].dear
only = sys.argv[1:]
for method in dict.fromkeys(ranked.index.get_level_values("method")):
    if method in dear or (only and method not in only):
        continue
    change = ranked.loc[method].index[0]
    path = MINI / "methods" / f"{method}.yaml"
    lines = [l for l in path.read_text().splitlines() if not l.startswith("chosen:")]
    alone = Group(datasets=("digits",), classes="halves", runs={method: {"method": method}})
    before = run_settings(MINI, alone, method, "digits", chosen=False)
    after = fair.changed(before, change)
    told = {}
    for part in ("recipe", "settings"):
        a, b = getattr(before, part), getattr(after, part)
        diff = {k: v for k, v in b.items() if a.get(k) != v}
        if part == "recipe":
            from dearlib.methods import catalogue
            full = catalogue.recipe(before.method, before.recipe)
            diff = {k: v for k, v in diff.items() if getattr(full, k) != v and not (k == "rates" and not v) and not (k == "average_at" and full.average != "gaussian")}
        if diff: told[part] = diff
    def show(v):
        if isinstance(v, dict): return "{" + ", ".join(f"{k}: {show(x)}" for k, x in v.items()) + "}"
        if isinstance(v, (list, tuple)): return "[" + ", ".join(map(show, v)) + "]"
        if isinstance(v, float):
            s = f"{v:.12g}"
            m = f"{v:.1e}".replace("e-0", "e-").replace("e+0","e+")
            if abs(float(s)) < 1e-2 and v: 
                import decimal
                t = "{:e}".format(decimal.Decimal(s)); mant, ex = t.split("e"); mant = mant.rstrip("0"); mant = mant + "0" if mant.endswith(".") else (mant if "." in mant else mant + ".0")
                return f"{mant}e{int(ex)}"
            return s if "." in s or "e" in s else s + ".0"
        return str(v)
    hm = ranked.loc[method]["hm"]
    if told:
        lines.append(f"chosen: {show(told)}    # the best of the trials in tuning_methods.csv: {change[0]} × {change[1]:g}")
    path.write_text("\n".join(lines) + "\n")
    print(method, change, told, hm.round(2).to_dict())
