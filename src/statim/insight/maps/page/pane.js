"use strict";
// A pane draws one space: points by deck.gl, names of clusters as HTML above them, a lasso as SVG.
// It uses what map.js defines.

const FINER = 1.3; // powers of two of zoom between one scale of labels and the next


class Pane {
  constructor(space, root, several) {
    this.space = space;
    this.count = space.x.length;
    this.positions = new Float32Array(2 * this.count);
    for (let i = 0; i < this.count; i++) { this.positions[2 * i] = space.x[i]; this.positions[2 * i + 1] = space.y[i]; }
    this.box = [middle(space.x), middle(space.y)];
    this.element = make("div", { className: "pane" });
    if (several) this.element.append(make("h2", { textContent: space.name }));
    this.canvas = make("div");
    this.labels = make("div", { className: "labels" });
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.polygon = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    this.svg.append(this.polygon);
    this.element.append(this.canvas, this.labels, this.svg);
    root.append(this.element);
    this.names = space.labels.map(([scale, x, y, size, words]) => ({
      scale, x, y, size, span: this.labels.appendChild(make("span", { textContent: words, hidden: true })),
    }));
    this.names.sort((a, b) => b.size - a.size);
    this.listenToLasso();
  }

  start() {
    this.view = this.fitted();
    this.deck = new deck.Deck({
      parent: this.canvas, style: { position: "absolute" },
      deviceProps: { type: "webgl", webgl: { antialias: false } }, // points have smooth edges without it
      views: new deck.OrthographicView({ flipY: true }),
      initialViewState: this.view, controller: { doubleClickZoom: false, inertia: false }, layers: this.layers(),
      pickingRadius: 6, getCursor: ({ isDragging }) => (isDragging ? "grabbing" : "default"),
      onViewStateChange: ({ viewState }) => this.moved(viewState), onResize: () => this.moved(this.view),
      onHover: ({ index, x, y }) => hover(this, index, x, y),
      onClick: ({ index }) => { if (index >= 0) choose([index], "picked"); },
      onLoad: () => { state.loaded = (state.loaded || 0) + 1; }, onError: failed,
    });
    this.moved(this.view);
  }

  fitted() {
    const { clientWidth, clientHeight } = this.element, [[left, right], [top, bottom]] = this.box;
    const zoom = Math.log2(0.86 * Math.min(clientWidth / (right - left + 1), clientHeight / (bottom - top + 1)));
    return { target: [(left + right) / 2, (top + bottom) / 2, 0], zoom, minZoom: zoom - 1, maxZoom: zoom + 10 };
  }

  fit(target = null) {
    this.view = this.fitted();
    if (target) Object.assign(this.view, { target, zoom: this.view.zoom + 4 });
    this.deck.setProps({ initialViewState: { ...this.view } });
    this.moved(this.view);
  }

  moved(view) {
    const grown = this.radius();
    this.view = view;
    this.place();
    if (this.deck && Math.abs(this.radius() - grown) > 0.05) this.draw();
  }

  radius() { // of a point, in pixels; it grows more slowly than the map does
    const usual = Math.min(5, Math.max(1.3, 220 / Math.sqrt(this.count)));
    const depth = this.view.zoom - this.view.minZoom - 1;
    return Math.min(7, usual * 2 ** (0.35 * Math.max(0, depth)));
  }

  layers() {
    const radius = this.radius(), { chosen, hover } = state, at = (i) => [this.space.x[i], this.space.y[i]];
    const size = { radiusUnits: "pixels", getRadius: 1 };
    const shared = state.colors;
    const layers = [new deck.ScatterplotLayer({
      id: "points", ...size, radiusScale: radius, pickable: true,
      data: { length: this.count, attributes: {
        getPosition: { value: this.positions, size: 2 },
        getFillColor: { value: shared, size: 4, normalized: true } } },
    })];
    if (chosen && chosen.size < 5000) layers.push(new deck.ScatterplotLayer({
      id: "chosen", ...size, data: [...chosen], getPosition: at, radiusScale: radius * 1.2 + 0.5,
      getFillColor: (i) => [...shared.subarray(4 * i, 4 * i + 3), 255],
    }));
    if (hover >= 0) layers.push(new deck.ScatterplotLayer({
      id: "hover", data: [hover], getPosition: at, radiusUnits: "pixels", getRadius: radius + 4, stroked: true,
      filled: false, lineWidthUnits: "pixels", getLineWidth: 2.5, getLineColor: GREY.map(() => dark() ? 255 : 0),
    }));
    return layers;
  }

  draw() { this.deck.setProps({ layers: this.layers() }); }

  place() { // the labels of this zoom's scale that do not overlap a larger cluster's
    const { clientWidth: width, clientHeight: height } = this.element, { target, zoom, minZoom } = this.view;
    const scale = 2 ** zoom, taken = [], finest = Math.max(0, ...this.names.map((name) => name.scale));
    const now = Math.min(finest, Math.max(0, Math.floor((zoom - minZoom - 1) / FINER)));
    for (const name of this.names) {
      const x = (name.x - target[0]) * scale + width / 2, y = (name.y - target[1]) * scale + height / 2;
      const { span } = name;
      span.hidden = name.scale !== now || x < 0 || y < 0 || x > width || y > height;
      if (span.hidden) continue;
      name.width ||= span.offsetWidth; name.height ||= span.offsetHeight;
      const left = Math.min(Math.max(x - name.width / 2, 4), Math.max(4, width - name.width - 4));
      const box = [left, y - name.height / 2, left + name.width, y + name.height / 2];
      span.hidden = taken.some((b) => box[0] < b[2] && box[2] > b[0] && box[1] < b[3] && box[3] > b[1]);
      if (span.hidden) continue;
      taken.push(box);
      span.style.transform = `translate(${box[0]}px, ${box[1]}px)`;
    }
  }

  listenToLasso() {
    let path = null;
    const show = () => this.polygon.setAttribute("points", (path || []).map((p) => p.join()).join(" "));
    const at = (event) => {
      const box = this.element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.svg.addEventListener("pointerdown", (event) => {
      path = [at(event)];
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (!path) return;
      const here = at(event), last = path[path.length - 1];
      if (Math.hypot(here[0] - last[0], here[1] - last[1]) > 3) path.push(here);
      show();
    });
    const end = () => {
      if (path && path.length > 2) choose(this.inside(path), "in the lasso");
      path = null;
      show();
      lasso(false);
    };
    this.svg.addEventListener("pointerup", end);
    this.svg.addEventListener("pointercancel", () => { path = null; end(); });
  }

  inside(path) { // the texts whose points are within a polygon of pixels, by the even-odd rule
    const { clientWidth: width, clientHeight: height } = this.element, { target, zoom } = this.view;
    const edges = path.map(([x, y]) => [(x - width / 2) / 2 ** zoom + target[0], (y - height / 2) / 2 ** zoom + target[1]]);
    const xs = edges.map((p) => p[0]), ys = edges.map((p) => p[1]);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const found = [];
    for (let i = 0; i < this.count; i++) {
      const x = this.space.x[i], y = this.space.y[i];
      if (x < left || x > right || y < top || y > bottom) continue;
      let odd = false;
      for (let a = 0, b = edges.length - 1; a < edges.length; b = a++) {
        const [ax, ay] = edges[a], [bx, by] = edges[b];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
      }
      if (odd) found.push(i);
    }
    return found;
  }
}
