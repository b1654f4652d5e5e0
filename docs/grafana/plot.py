#!/usr/bin/env python3
"""Draws the panels of the dashboard from a Prometheus that has scraped the example `observed`.

    docs/grafana/plot.py http://127.0.0.1:9090 MINUTES docs/grafana/storm.png [PANEL...]

It sends the queries of shape-meta.json, so a picture with curves shows that they work. A query that Prometheus refuses,
or that finds nothing, is reported. Needs matplotlib.
"""
import json, math, pathlib, re, sys, time, urllib.parse, urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

server, minutes, picture, *wanted = sys.argv[1:]
dashboard = json.loads((pathlib.Path(__file__).parent / "shape-meta.json").read_text())
panels = [panel for panel in dashboard["panels"] if not wanted or panel["title"] in wanted]
missing = set(wanted) - {panel["title"] for panel in panels}
if missing:
    sys.exit(f"there is no panel {', '.join(sorted(missing))}")
end = time.time()
start = end - float(minutes) * 60
step = max((end - start) / 400, 2)
COLOURS = {"ready": "tab:green", "degraded": "tab:orange", "fenced": "tab:red", "stopped": "tab:red"}


def ask(query):
    query = query.replace("$__rate_interval", "10s").replace("$stack", ".*")
    form = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{form}") as answer:
        return json.load(answer)["data"]["result"]


def points(series):
    """The samples of a series, with a gap where there are none, rather than a line over it."""
    samples = [(float(at) - start, float(value)) for at, value in series["values"]]
    samples = [(at, value if math.isfinite(value) else math.nan) for at, value in samples]
    with_gaps = samples[:1]
    for before, after in zip(samples, samples[1:]):
        if after[0] - before[0] > 2 * step:
            with_gaps.append((before[0] + step, math.nan))
        with_gaps.append(after)
    return with_gaps


def spans(series):
    """The intervals in which a series has samples."""
    whole = []
    for at, _ in series["values"]:
        at = float(at) - start
        if whole and at - whole[-1][1] <= 1.5 * step:
            whole[-1][1] = at
        else:
            whole.append([at, at])
    return [(begin, last - begin + step) for begin, last in whole]


def legend_of(target, series):
    name = re.sub(r"{{(\w+)}}", lambda label: series["metric"].get(label[1], ""), target["legendFormat"])
    return name.strip().removeprefix("main ")


columns = 3
rows = math.ceil(len(panels) / columns)
figure, axes = plt.subplots(rows, columns, figsize=(17, 3.4 * rows), squeeze=False)
for axis in axes.flat[len(panels):]:
    axis.axis("off")
degraded = [span for series in ask('shape_meta_health{state="degraded"} == 1') for span in spans(series)]
for axis, panel in zip(axes.flat, panels):
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    answers = [(target, series) for target in panel["targets"] for series in ask(target["expr"])]
    if not answers:
        print(f"{panel['title']}: no series was found", file=sys.stderr)
    axis.set_title(panel["title"], fontsize=11)
    axis.set_xlim(0, end - start)
    axis.grid(alpha=0.3)
    axis.tick_params(labelsize=9)
    if panel["type"] == "state-timeline":
        names = sorted({legend_of(target, series) for target, series in answers}, reverse=True)
        for target, series in answers:
            name = legend_of(target, series)
            axis.broken_barh(spans(series), (names.index(name) - 0.35, 0.7), color=COLOURS.get(name, "tab:gray"))
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(-0.7, max(len(names), 3) - 0.3)
        continue
    for begin, length in degraded:
        axis.axvspan(begin, begin + length, color="tab:orange", alpha=0.12, linewidth=0)
    for at, (target, series) in enumerate(answers):
        # The later ones thinner, so that one which lies on another one hides nothing.
        width = max(3.2 - 0.8 * at, 1.2)
        axis.plot(*zip(*points(series)), label=legend_of(target, series), linewidth=width)
    is_logarithmic = "scaleDistribution" in defaults["custom"]
    if is_logarithmic and answers:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(numticks=7))
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        axis.set_ylim(bottom=0)
    suffix = {"s": "s", "bytes": "B", "ops": "/s", "reqps": "/s"}.get(unit, "")
    axis.yaxis.set_major_formatter(EngFormatter(suffix, sep=" " if suffix in ("s", "B") else ""))
    if answers:
        # Below the curves, which it would cover.
        axis.legend(
            fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False,
            columnspacing=1.2, handlelength=1.4,
        )
figure.supxlabel("seconds; shaded: degraded, while another process holds the database", fontsize=10)
figure.tight_layout(h_pad=1.5)
figure.savefig(picture, dpi=80)
