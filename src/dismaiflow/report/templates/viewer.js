// Draws structures on canvases, far atoms first, and turns them. WebGL is not needed.
(function () {
  const structures = JSON.parse(document.getElementById("structures-data").textContent);
  const DEPTHS = 6; // shades of an atom from near to far
  const SEGMENTS = 12; // pieces of a cell edge, each with its own depth
  const SPRITE = 96; // pixels of a drawn atom
  const TALL = 1.4; // slabs, longer along c than along a and b by so much, stand upright at first
  const FULL = 0.85; // share of the cell below which atoms are shown without the vacuum
  const ROOM = 1; // Å around them
  const lengths = Object.values(structures).map((s) => s.cell.map((row) => Math.hypot(...row)));
  const START = lengths.some(([a, b, c]) => c > TALL * Math.max(a, b))
    ? multiply(turn(0, -1.4), turn(2, 0.35))
    : multiply(turn(0, -0.32), turn(1, 0.45));

  function turn(axis, angle) {
    const c = Math.cos(angle);
    const s = Math.sin(angle);
    return [
      [1, 0, 0, 0, c, -s, 0, s, c],
      [c, 0, s, 0, 1, 0, -s, 0, c],
      [c, -s, 0, s, c, 0, 0, 0, 1],
    ][axis];
  }

  function multiply(a, b) {
    const out = new Array(9).fill(0);
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) {
        for (let k = 0; k < 3; k++) out[3 * i + j] += a[3 * i + k] * b[3 * k + j];
      }
    }
    return out;
  }

  function mix(colour, other, share) {
    return colour.map((x, i) => Math.round(x + share * (other[i] - x)));
  }

  function rgb(colour) {
    return "rgb(" + colour.join(",") + ")";
  }

  function channels(text) {
    return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  }

  // A shaded ball, the paler the further away it is.
  function sprite(colour, background, depth) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SPRITE;
    const context = canvas.getContext("2d");
    const r = SPRITE / 2;
    const base = mix(colour, background, (0.55 * depth) / (DEPTHS - 1));
    const shade = context.createRadialGradient(0.7 * r, 0.65 * r, 0.05 * r, r, r, r);
    shade.addColorStop(0, rgb(mix(base, [255, 255, 255], 0.65)));
    shade.addColorStop(0.45, rgb(base));
    shade.addColorStop(1, rgb(mix(base, [0, 0, 0], 0.35)));
    context.fillStyle = shade;
    context.beginPath();
    context.arc(r, r, r - 1, 0, 2 * Math.PI);
    context.fill();
    return canvas;
  }

  function edges(cell) {
    const found = [];
    for (let axis = 0; axis < 3; axis++) {
      for (const p of [0, 1]) {
        for (const q of [0, 1]) {
          const start = [0, 1, 2].map(
            (x) => p * cell[(axis + 1) % 3][x] + q * cell[(axis + 2) % 3][x],
          );
          for (let s = 0; s <= SEGMENTS; s++) {
            found.push(start.map((x, i) => x + (s / SEGMENTS) * cell[axis][i]));
          }
        }
      }
    }
    return found;
  }

  // Centre and half the size of what is shown: the cell, of a slab with vacuum the atoms.
  function frame({ cell, positions }) {
    const [a, b, c] = cell;
    const height = Math.hypot(...c);
    const heights = positions.map((p) => (p[0] * c[0] + p[1] * c[1] + p[2] * c[2]) / height);
    const low = Math.min(...heights) - ROOM;
    const high = Math.max(...heights) + ROOM;
    const isSlab = height > TALL * Math.max(Math.hypot(...a), Math.hypot(...b));
    const cut = isSlab && high - low < FULL * height;
    const middle = cut ? (low + high) / 2 / height : 0.5;
    const centre = c.map((x, i) => (a[i] + b[i]) / 2 + middle * x);
    const across = Math.max(
      Math.hypot(...a.map((x, i) => x + b[i])),
      Math.hypot(...a.map((x, i) => x - b[i])),
    );
    const whole = Math.hypot(...c.map((x, i) => a[i] + b[i] + x));
    // Seen from a little above, a slab is higher than its atoms.
    const slab = Math.max(1.1 * across, high - low + 0.3 * across);
    return { centre, size: (cut ? slab : whole) / 2 || 1 };
  }

  class View {
    constructor(canvas, data) {
      this.canvas = canvas;
      this.data = data;
      Object.assign(this, frame(data));
      this.edges = edges(data.cell);
      canvas.dataset.atoms = data.atoms.length;
    }

    recolour() {
      const style = getComputedStyle(document.documentElement);
      const background = channels(style.getPropertyValue("--panel").trim());
      this.line = style.getPropertyValue("--muted").trim();
      this.sprites = this.data.elements.map((element) =>
        Array.from({ length: DEPTHS }, (_, depth) =>
          sprite(channels(element.colour), background, depth),
        ),
      );
    }

    project(point, state) {
      const d = point.map((x, i) => x - this.centre[i]);
      const r = state.rotation;
      const z = r[6] * d[0] + r[7] * d[1] + r[8] * d[2];
      const near = (4 * this.size) / (4 * this.size - z); // mild perspective
      const scale = ((0.47 * this.pixels) / this.size) * state.zoom * near;
      return {
        x: this.pixels / 2 + scale * (r[0] * d[0] + r[1] * d[1] + r[2] * d[2]),
        y: this.pixels / 2 - scale * (r[3] * d[0] + r[4] * d[1] + r[5] * d[2]),
        z,
        scale,
      };
    }

    items(state) {
      const { atoms, elements, positions } = this.data;
      const found = [];
      atoms.forEach((element, i) => {
        if (state.hidden.has(elements[element].symbol)) return;
        found.push({ ...this.project(positions[i], state), element });
      });
      const ends = this.edges.map((point) => this.project(point, state));
      for (let i = 0; i + 1 < ends.length; i++) {
        if ((i + 1) % (SEGMENTS + 1) === 0) continue;
        found.push({ z: (ends[i].z + ends[i + 1].z) / 2, from: ends[i], to: ends[i + 1] });
      }
      return found.sort((a, b) => a.z - b.z);
    }

    draw(state) {
      const shown = this.canvas.getBoundingClientRect();
      if (shown.width === 0) return;
      const density = window.devicePixelRatio || 1;
      this.canvas.width = Math.round(shown.width * density);
      this.canvas.height = Math.round(shown.height * density);
      this.pixels = Math.min(this.canvas.width, this.canvas.height);
      const context = this.canvas.getContext("2d");
      context.translate(
        (this.canvas.width - this.pixels) / 2,
        (this.canvas.height - this.pixels) / 2,
      );
      context.lineWidth = 1.4 * density;
      context.lineCap = "round";
      context.strokeStyle = this.line;
      for (const item of this.items(state)) this.drawItem(context, item);
      context.fillStyle = this.line;
      context.font = `${13 * density}px sans-serif`;
      context.textAlign = "center";
      ["a", "b", "c"].forEach((name, axis) => {
        const end = this.project(this.data.cell[axis].map((x) => 1.07 * x), state);
        context.fillText(name, end.x, end.y + 4 * density);
      });
      this.canvas.dataset.view = state.rotation.map((x) => x.toFixed(3)).join(" ");
    }

    drawItem(context, item) {
      if (item.from) {
        context.beginPath();
        context.moveTo(item.from.x, item.from.y);
        context.lineTo(item.to.x, item.to.y);
        context.stroke();
        return;
      }
      const far = Math.min(Math.max(0.5 - (0.62 * item.z) / this.size, 0), 1);
      const radius = this.data.elements[item.element].radius * item.scale;
      context.drawImage(
        this.sprites[item.element][Math.round(far * (DEPTHS - 1))],
        item.x - radius,
        item.y - radius,
        2 * radius,
        2 * radius,
      );
    }
  }

  // One group of structures, which turn together.
  function start(group) {
    const state = { rotation: START, zoom: 1, hidden: new Set() };
    const views = [...group.querySelectorAll("canvas")].map(
      (canvas) => new View(canvas, structures[canvas.id]),
    );
    let waiting = false;
    const draw = () => views.forEach((view) => view.draw(state));
    const later = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        draw();
      });
    };
    const rotate = (dx, dy) => {
      state.rotation = multiply(multiply(turn(0, dy), turn(1, dx)), state.rotation);
      later();
    };
    const actions = {
      larger: () => (state.zoom = Math.min(state.zoom * 1.2, 6)),
      smaller: () => (state.zoom = Math.max(state.zoom / 1.2, 0.4)),
      reset: () => Object.assign(state, { rotation: START, zoom: 1 }),
    };
    views.forEach((view) => listen(view.canvas, rotate, actions, later));
    group.querySelectorAll("button").forEach((button) => {
      button.addEventListener("click", () => {
        const { element, do: action } = button.dataset;
        if (action) actions[action]();
        if (element) {
          const hide = !state.hidden.delete(element);
          if (hide) state.hidden.add(element);
          button.setAttribute("aria-pressed", String(!hide));
        }
        later();
      });
    });
    const recolour = () => {
      views.forEach((view) => view.recolour());
      draw();
    };
    document.addEventListener("recoloured", recolour);
    new ResizeObserver(later).observe(group);
    recolour();
  }

  function listen(canvas, rotate, actions, later) {
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (last === null) return;
      rotate((event.clientX - last[0]) / 120, (event.clientY - last[1]) / 120);
      last = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => (last = null));
    }
    canvas.addEventListener("dblclick", () => {
      actions.reset();
      later();
    });
    const keys = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    canvas.addEventListener("keydown", (event) => {
      if (event.key in keys) rotate(...keys[event.key]);
      else if (event.key === "+") actions.larger();
      else if (event.key === "-") actions.smaller();
      else return;
      event.preventDefault();
      later();
    });
  }

  document.querySelectorAll(".viewers").forEach(start);
})();
