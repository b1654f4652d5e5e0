#!/usr/bin/env python3
"""Draws the panels of the dashboard from a Prometheus that has scraped the example `observed`.

    docs/grafana/plot.py http://127.0.0.1:9090 MINUTES docs/grafana/storm.png [PANEL...]

It asks the very queries of shape-meta.json, so a picture with curves in it says that they are right. Needs matplotlib.
"""
import json, math, pathlib, re, sys, time, urllib.parse, urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

server, minutes, picture, *wanted = sys.argv[1:]
dashboard = json.loads((pathlib.Path(__file__).parent / "shape-meta.json").read_text())
panels = [panel for panel in dashboard["panels"] if not wanted or panel["title"] in wanted]
end = time.time()
start = end - float(minutes) * 60


def ask(query):
    query = query.replace("$__rate_interval", "10s").replace("$stack", ".*")
    step = max((end - start) / 400, 2)
    form = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{form}") as answer:
        return json.load(answer)["data"]["result"]


columns = 3
rows = math.ceil(len(panels) / columns)
figure, axes = plt.subplots(rows, columns, figsize=(17, 2.9 * rows), squeeze=False)
for axis in axes.flat[len(panels):]:
    axis.axis("off")
for axis, panel in zip(axes.flat, panels):
    for target in panel["targets"]:
        for series in ask(target["expr"]):
            name = re.sub(r"{{(\w+)}}", lambda label: series["metric"].get(label[1], ""), target["legendFormat"])
            points = [(float(at) - start, float(value)) for at, value in series["values"]]
            whole = [(at, value if math.isfinite(value) else math.nan) for at, value in points]
            # A gap where nothing was told, rather than a line over it.
            gaps = [whole[0]]
            for before, after in zip(whole, whole[1:]):
                if after[0] - before[0] > 10:
                    gaps.append((before[0] + 1, math.nan))
                gaps.append(after)
            axis.plot(*zip(*gaps), label=name.removeprefix("main "), linewidth=1.2)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axis.set_title(f'{panel["title"]} [{unit}]' if unit != "short" else panel["title"], fontsize=10)
    if "scaleDistribution" in panel["fieldConfig"]["defaults"]["custom"]:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.set_xlim(0, end - start)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    if axis.lines:
        axis.legend(fontsize=7, loc="best", framealpha=0.7)
figure.supxlabel("seconds", fontsize=9)
figure.tight_layout()
figure.savefig(picture, dpi=80)
