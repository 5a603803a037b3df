/**
 * Owns one chart: an SVG of steps with its limit as a dashed line, and the value that is pointed at.
 * The arrow keys move the pointer, too.
 */

import { quantity } from "../../streaming/js/format.js";
import { areaPath, offsetOf, pointAt, runs, stepPath, timeMarks, valueAxis } from "./chart-layout.js";
import { Picture, svgElement } from "./picture.js";

const HEIGHT = 170;
const MARGIN = { left: 48, right: 12, top: 14, bottom: 22 };
const DAY = 86_400_000;

export class Chart {
  #moments;
  #timeZone;
  #name;
  #limitName;
  #readout;
  #svg;
  #picture;
  #cursor;
  #data = null;

  /** `limitName` undefined: this measure has no limit. */
  constructor({ name, limitName, moments, timeZone }) {
    this.#name = name;
    this.#limitName = limitName;
    this.#moments = moments;
    this.#timeZone = timeZone;
    this.element = document.createElement("figure");
    this.element.className = "chart";
    this.element.style.margin = "0";
    const header = document.createElement("header");
    const title = document.createElement("h2");
    title.textContent = name;
    this.#readout = document.createElement("span");
    this.#readout.className = "readout quiet";
    header.append(title, this.#readout);
    this.#svg = svgElement("svg");
    this.element.append(header, this.#svg);
    this.#picture = new Picture({
      svg: this.#svg,
      margin: MARGIN,
      draw: () => this.#draw(),
      find: (at) => pointAt(this.#data.points, at, this.#data.stepMs),
      tell: (index) => this.#tell(index),
    });
  }

  /**
   * Show `points` (`[t, value]`) and `limits` (the same) from `from` to `to`. `isFitted`: the scale
   * follows the values and not the limit.
   */
  show(data) {
    this.#data = data;
    this.#picture.show({ ...data, count: data.points.length });
  }

  #draw() {
    const { points, limits, from, to, stepMs, isFitted, peak } = this.#data;
    const { width, right } = this.#picture;
    const highest = points.reduce((top, point) => Math.max(top, point[1]), 0);
    const highestLimit = limits.reduce((top, point) => Math.max(top, point[1]), 0);
    const { top, marks } = valueAxis(isFitted ? highest : Math.max(highest, highestLimit));
    const bottom = HEIGHT - MARGIN.bottom;
    const x = (at) => this.#picture.x(at);
    const y = (value) => bottom - (value / top) * (bottom - MARGIN.top);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.setAttribute("aria-label", this.#summary(peak, limits));
    this.#axes(marks, x, y, { right, bottom, from, to });
    if (!points.length) {
      this.#text("No figures in this range.", width / 2, HEIGHT / 2, "none", "middle");
    }
    for (const run of runs(points, stepMs)) {
      this.#picture.add("path", { class: "area", d: areaPath(run, stepMs, x, y, bottom) });
      this.#picture.add("path", { class: "value", d: stepPath(run, stepMs, x, y) });
    }
    this.#limit(limits, stepMs, x, y, { top, right });
    if (peak && highest > 0) {
      this.#picture.add("circle", { class: "peak", cx: x(peak.at_ms).toFixed(1), cy: y(peak.value).toFixed(1), r: 3 });
    }
    this.#cursor = this.#picture.add("line", { class: "cursor", y1: MARGIN.top, y2: bottom, visibility: "hidden" });
  }

  #axes(marks, x, y, { right, bottom, from, to }) {
    for (const mark of marks) {
      this.#picture.add("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y(mark), y2: y(mark) });
      this.#text(short(mark), MARGIN.left - 6, y(mark) + 4, "", "end");
    }
    const most = Math.max(2, Math.floor((right - MARGIN.left) / 80));
    const offset = offsetOf(this.#timeZone, from);
    const { step, marks: times } = timeMarks(from, to, most, offset);
    for (const at of times) {
      this.#picture.add("line", { class: "grid", x1: x(at), x2: x(at), y1: bottom, y2: bottom + 4 });
      const isDay = step >= DAY || (at + offset) % DAY === 0;
      const text = isDay ? this.#moments.date(at) : this.#moments.clock(at);
      if (x(at) < right - 14) this.#text(text, x(at), HEIGHT - 4, "", "middle");
    }
  }

  #limit(limits, stepMs, x, y, { top, right }) {
    if (!limits.length) return;
    const last = limits.at(-1)[1];
    const isAbove = last > top;
    if (!isAbove) {
      for (const run of runs(limits, stepMs)) {
        this.#picture.add("path", { class: "limit", d: stepPath(run.map(([at, value]) => [at, Math.min(value, top)]), stepMs, x, y) });
      }
    }
    const text = `${this.#limitName} ${quantity(last)}${isAbove ? ", above \u2191" : ""}`;
    this.#text(text, right, isAbove ? 10 : Math.max(10, y(last) - 4), "limit-name", "end");
  }

  #summary(peak, limits) {
    const limit = limits.length ? `, ${this.#limitName} ${quantity(limits.at(-1)[1])}` : "";
    if (!peak) return `${this.#name}: no figures in this range${limit}.`;
    return `${this.#name}: highest ${quantity(Math.round(peak.value))} at ${this.#moments.full(peak.at_ms)}${limit}. Arrow keys read the values.`;
  }

  #tell(index) {
    const point = this.#data.points[index];
    this.#cursor.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) {
      this.#readout.textContent = this.#rest();
      return;
    }
    const { to, limits } = this.#data;
    const x = this.#picture.x(point[0]).toFixed(1);
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
    const limit = limits[index] ? ` of ${quantity(limits[index][1])}` : "";
    this.#readout.textContent = `${this.#moments.short(point[0], to)}: ${quantity(Math.round(point[1]))}${limit}`;
  }

  #rest() {
    const { peak, to } = this.#data;
    return peak ? `highest ${quantity(Math.round(peak.value))}, ${this.#moments.short(peak.at_ms, to)}` : "";
  }

  #text(text, x, y, className, anchor) {
    const node = this.#picture.add("text", { x, y, class: className, "text-anchor": anchor });
    node.textContent = text;
  }
}

/** A number for a narrow margin: 900, 9k, 1.2M. */
function short(value) {
  if (value >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
  return value >= 10_000 ? `${+(value / 1000).toFixed(1)}k` : quantity(value);
}
