"""Plots of the hit rate over time: PNG by matplotlib (the extra `plot`), or one HTML file without dependencies.

This file decides how curves are drawn. The HTML holds its data, its drawing and its few lines of script, so it can be
mailed or kept beside a result. The points of a curve are decided in `stream.evaluation.measures.curves`.
"""

from __future__ import annotations

import html
import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path

from stream.evaluation.measures.curves import Curves, curves
from stream.evaluation.measures.result import BLEND, Evaluation
from stream.evaluation.protocol import WrongInput

FORMATS = (".png", ".html")


def plot(evaluation: Evaluation, path: Path, *, window: int | None = None) -> Path:
    """Write the hit rate over time of the blend and each source, with drift detections, to `path`, and return `path`.

    Raises:
        WrongInput: the name ends in neither .png nor .html, or matplotlib is missing for a PNG.
    """
    check_plot_name(path)
    drawn = curves(evaluation, window)
    title = f"{evaluation.stream}: HR@{drawn.cutoff} over the last {drawn.window:,} tests"
    if path.suffix.lower() == ".html":
        path.write_text(to_html(drawn, title), encoding="utf-8")
    else:
        _to_png(drawn, title, path)
    return path


def check_plot_name(path: Path) -> None:
    """Refuse a file name before the evaluation starts, not after it.

    Raises:
        WrongInput: the name ends in neither .png nor .html, its folder doesn't exist, or matplotlib is missing.
    """
    if path.suffix.lower() not in FORMATS:
        raise WrongInput(f"--plot {path}: the name ends in .png or .html")
    if not path.parent.is_dir():
        raise WrongInput(f"--plot {path}: there is no folder {path.parent}")
    if path.suffix.lower() == ".png" and importlib.util.find_spec("matplotlib") is None:
        raise WrongInput(
            f"--plot {path}: a PNG needs matplotlib (pip install 'corrente[plot]'); an .html file needs nothing"
        )


def to_html(drawn: Curves, title: str) -> str:
    """One HTML page: an SVG chart, a legend whose entries hide and show lines, and the values under the pointer."""
    data = {
        "event": drawn.event.tolist(),
        "when": [_moment(moment) for moment in drawn.time.tolist()],
        "hr": {name: [round(value, 5) for value in values.tolist()] for name, values in drawn.hr.items()},
        "drift": drawn.detections,
        "rise": drawn.rises,
        "bold": BLEND,
    }
    embedded = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return _PAGE.replace("{{title}}", html.escape(title)).replace("{{data}}", embedded)


def _to_png(drawn: Curves, title: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, values in drawn.hr.items():
        bold = name == BLEND
        axes.plot(drawn.event, values, label=name, linewidth=2.6 if bold else 1.0, color="black" if bold else None)
    for events, colour, label in ((drawn.detections, "crimson", "drift"), (drawn.rises, "seagreen", "rise")):
        for number, event in enumerate(events):
            axes.axvline(event, color=colour, linestyle=":", label=None if number else label)
    axes.set_title(title)
    axes.set_xlabel("event")
    axes.set_ylabel(f"HR@{drawn.cutoff}")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=120)


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%d %H:%M}" if moment.year > 1980 else ""  # times that only number the events are no dates


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{title}}</title>
<style>
body{font:15px system-ui,sans-serif;margin:2em;max-width:1100px;color:#222}
h1{font-size:1.15em} svg{width:100%;height:auto} text{font-size:12px;fill:#555}
#legend span{display:inline-block;margin:0.15em 0.9em 0.15em 0;cursor:pointer;white-space:nowrap}
#legend i{display:inline-block;width:1.4em;height:3px;vertical-align:middle;margin-right:0.35em}
#legend .off{opacity:0.3} #now{min-height:1.4em;font-variant-numeric:tabular-nums}
</style>
<h1>{{title}}</h1><div id="legend"></div>
<svg id="chart" viewBox="0 0 1000 480" role="img" aria-label="{{title}}"></svg><div id="now"></div>
<p>Dotted lines: ADWIN found that the blend's hit rate had fallen (red) or risen (green).
Click a name to hide or show its line.</p>
<script type="application/json" id="data">{{data}}</script>
<script>
const d=JSON.parse(document.getElementById("data").textContent),svg=document.getElementById("chart");
const names=Object.keys(d.hr),off=new Set(),left=50,right=985,top_=12,low=440;
const colours=["#000","#1f77b4","#ff7f0e","#2ca02c","#9467bd","#8c564b","#e377c2","#17becf","#bcbd22","#7f7f7f",
"#393b79","#637939","#8c6d31","#843c39","#7b4173","#3182bd","#e6550d"];
const first=d.event[0],span=Math.max(1,d.event[d.event.length-1]-first);
const x=e=>left+(right-left)*(e-first)/span;
function node(tag,attributes,text){const n=document.createElementNS("http://www.w3.org/2000/svg",tag);
for(const k in attributes)n.setAttribute(k,attributes[k]);if(text!==undefined)n.textContent=text;svg.append(n);return n}
function draw(){svg.replaceChildren();const shown=names.filter(n=>!off.has(n));
const most=Math.max(1e-6,...shown.flatMap(n=>d.hr[n]))*1.05,y=v=>low-(low-top_)*v/most;
for(let i=0;i<=5;i++){const v=most*i/5;node("line",{x1:left,x2:right,y1:y(v),y2:y(v),stroke:"#e4e4e4"});
node("text",{x:left-6,y:y(v)+4,"text-anchor":"end"},v.toFixed(3))}
for(let i=0;i<=5;i++){const at=Math.round((d.event.length-1)*i/5);
node("text",{x:x(d.event[at]),y:low+18,"text-anchor":i==5?"end":"middle"},d.when[at]||d.event[at].toLocaleString("en"))}
for(const [events,stroke] of [[d.drift,"crimson"],[d.rise,"seagreen"]])for(const e of events)if(e>=first)
node("line",{x1:x(e),x2:x(e),y1:top_,y2:low,stroke,"stroke-dasharray":"2 4"});
for(const n of shown)node("polyline",{fill:"none",stroke:colours[names.indexOf(n)%colours.length],
"stroke-width":n==d.bold?3:1.3,points:d.hr[n].map((v,i)=>x(d.event[i]).toFixed(1)+","+y(v).toFixed(1)).join(" ")})}
const legend=document.getElementById("legend");
names.forEach((n,i)=>{const s=document.createElement("span"),b=document.createElement("i");
b.style.background=colours[i%colours.length];s.append(b,n);
s.onclick=()=>{off.has(n)?off.delete(n):off.add(n);s.className=off.has(n)?"off":"";draw()};legend.append(s)});
svg.onmousemove=m=>{const box=svg.getBoundingClientRect();
const e=first+span*((m.clientX-box.left)/box.width*1000-left)/(right-left);
let at=0;d.event.forEach((v,i)=>{if(Math.abs(v-e)<Math.abs(d.event[at]-e))at=i});
document.getElementById("now").textContent="event "+d.event[at].toLocaleString("en")+" "+d.when[at]+": "+
names.filter(n=>!off.has(n)).map(n=>n+" "+d.hr[n][at].toFixed(4)).join(", ")};
draw();
</script></html>
"""
