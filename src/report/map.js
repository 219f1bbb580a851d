// The map of a collection: draws its points, and shows the image under the pointer.
(() => {
  "use strict";

  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("map-data").textContent);
  const plane = element("map-plane");
  const canvas = element("map-canvas");
  const card = element("map-card");
  const pen = canvas.getContext("2d");
  if (!pen) return;

  // Points: x, y and cluster; unknown confidence is 255.
  const bytes = atob(data.points);
  const count = bytes.length / 8;
  const xs = new Uint16Array(count);
  const ys = new Uint16Array(count);
  const clusters = new Uint32Array(count);
  const confidences = new Uint8Array(count);
  for (let point = 0; point < count; point++) {
    const byte = (offset) => bytes.charCodeAt(8 * point + offset);
    xs[point] = byte(0) | (byte(1) << 8);
    ys[point] = byte(2) | (byte(3) << 8);
    clusters[point] = byte(4) | (byte(5) << 8) | (byte(6) << 16);
    confidences[point] = byte(7);
  }
  const pictures = new Map(data.pictures.map(([point, jpeg]) => [point, "data:image/jpeg;base64," + jpeg]));
  for (const [point, id] of data.onPage) {
    const image = element(id);
    if (image) pictures.set(point, image.src);
  }

  // Points with a picture stand out where most have none.
  const ringed = pictures.size < count ? [...pictures.keys()] : [];

  // A grid of cells finds the points near the pointer: those of cell c are order[starts[c]] to order[starts[c + 1] - 1].
  const SIDE = 65536;
  const CELLS = 128;
  const cellOf = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor((value * CELLS) / SIDE)));
  const starts = new Uint32Array(CELLS * CELLS + 1);
  for (let point = 0; point < count; point++) starts[cellOf(ys[point]) * CELLS + cellOf(xs[point]) + 1]++;
  for (let cell = 0; cell < CELLS * CELLS; cell++) starts[cell + 1] += starts[cell];
  const order = new Uint32Array(count);
  const next = starts.slice();
  for (let point = 0; point < count; point++) order[next[cellOf(ys[point]) * CELLS + cellOf(xs[point])]++] = point;

  // What is seen: the centre in the points' units, and how many times larger than the whole.
  const MOST_ZOOM = 64;
  const REACH_PX = 16;
  let width = 1;
  let height = 1;
  let zoom = 1;
  let centreX = SIDE / 2;
  let centreY = SIDE / 2;
  let chosen = -1;
  let highlighted = -1;
  let waiting = false;
  // The points without the mark of the chosen one, so that choosing does not draw them all again.
  const ground = document.createElement("canvas");
  let groundIsOld = true;

  const scale = () => (zoom * Math.min(width, height)) / SIDE;
  const screenX = (x) => width / 2 + (x - centreX) * scale();
  const screenY = (y) => height / 2 + (y - centreY) * scale();

  function drawGround(ratio) {
    ground.width = canvas.width;
    ground.height = canvas.height;
    const brush = ground.getContext("2d");
    brush.scale(ratio, ratio);
    const radius = Math.min(7, Math.max(1.1, 5.6 - 0.95 * Math.log10(Math.max(1, count))) * Math.pow(zoom, 0.35));
    const asDiscs = count <= 12000 || zoom >= 3;
    // A prime step larger than any number of points visits each once, so that no cluster always lies on top.
    for (let step = 0, point = 0; step < count; step++, point = (point + 104729) % count) {
      const x = screenX(xs[point]);
      const y = screenY(ys[point]);
      if (x < -radius || y < -radius || x > width + radius || y > height + radius) continue;
      const faint = highlighted >= 0 && clusters[point] !== highlighted;
      brush.globalAlpha = faint ? 0.1 : 0.88;
      brush.fillStyle = data.colours[clusters[point] % 255];
      if (asDiscs) {
        brush.beginPath();
        brush.arc(x, y, radius, 0, 2 * Math.PI);
        brush.fill();
      } else {
        brush.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
      }
    }
    for (const point of ringed) {
      const faint = highlighted >= 0 && clusters[point] !== highlighted;
      brush.globalAlpha = faint ? 0.15 : 1;
      brush.beginPath();
      brush.arc(screenX(xs[point]), screenY(ys[point]), radius + 2, 0, 2 * Math.PI);
      brush.fillStyle = data.colours[clusters[point] % 255];
      brush.fill();
      brush.lineWidth = 1.2;
      brush.strokeStyle = "#fff";
      brush.stroke();
    }
  }

  function draw() {
    waiting = false;
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    const [columns, rows] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    if (canvas.width !== columns || canvas.height !== rows) {
      canvas.width = columns;
      canvas.height = rows;
      groundIsOld = true;
    }
    if (groundIsOld) drawGround(ratio);
    groundIsOld = false;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, columns, rows);
    pen.drawImage(ground, 0, 0);
    if (chosen >= 0) {
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.beginPath();
      pen.arc(screenX(xs[chosen]), screenY(ys[chosen]), 8, 0, 2 * Math.PI);
      pen.lineWidth = 4;
      pen.strokeStyle = "#000";
      pen.stroke();
      pen.lineWidth = 2;
      pen.strokeStyle = "#fff";
      pen.stroke();
    }
  }

  function redraw(everything) {
    groundIsOld = groundIsOld || everything;
    if (!waiting) {
      waiting = true;
      window.requestAnimationFrame(draw);
    }
  }

  // The point nearest to a place of the screen; one with a ring counts as twice as near.
  function nearest(screenPointX, screenPointY) {
    const x = centreX + (screenPointX - width / 2) / scale();
    const y = centreY + (screenPointY - height / 2) / scale();
    const reach = REACH_PX / scale();
    let best = -1;
    let bestSquared = reach * reach;
    for (let row = cellOf(y - reach); row <= cellOf(y + reach); row++) {
      for (let column = cellOf(x - reach); column <= cellOf(x + reach); column++) {
        const cell = row * CELLS + column;
        for (let position = starts[cell]; position < starts[cell + 1]; position++) {
          const point = order[position];
          const nearer = ringed.length > 0 && pictures.has(point) ? 0.25 : 1;
          const squared = nearer * ((xs[point] - x) ** 2 + (ys[point] - y) ** 2);
          if (squared < bestSquared) {
            best = point;
            bestSquared = squared;
          }
        }
      }
    }
    return best;
  }

  function line(kind, text) {
    const paragraph = document.createElement("p");
    paragraph.className = kind;
    paragraph.textContent = text;
    return paragraph;
  }

  function choose(point) {
    if (point === chosen) return;
    chosen = point;
    redraw(false);
    card.hidden = point < 0;
    if (point < 0) return;
    const content = [];
    if (pictures.has(point)) {
      const image = document.createElement("img");
      image.src = pictures.get(point);
      image.alt = data.paths[point];
      content.push(image);
    }
    content.push(line("path", data.paths[point]));
    const confidence = confidences[point] === 255 ? "" : " · confidence " + (confidences[point] / 200).toFixed(2);
    const cluster = line("which", "Cluster " + clusters[point] + confidence);
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = data.colours[clusters[point] % 255];
    cluster.prepend(swatch);
    content.push(cluster);
    card.replaceChildren(...content);
    place();
  }

  // Beside the chosen point, on the side with more room.
  function place() {
    if (chosen < 0) return;
    const x = screenX(xs[chosen]);
    const y = screenY(ys[chosen]);
    const left = x > width / 2 ? x - card.offsetWidth - 16 : x + 16;
    const top = y - card.offsetHeight / 2;
    card.style.left = Math.max(4, Math.min(width - card.offsetWidth - 4, left)) + "px";
    card.style.top = Math.max(4, Math.min(height - card.offsetHeight - 4, top)) + "px";
  }

  function keepInside() {
    const margin = SIDE / 2 / zoom;
    centreX = Math.min(SIDE - margin, Math.max(margin, centreX));
    centreY = Math.min(SIDE - margin, Math.max(margin, centreY));
  }

  // Zooms so that what is at a place of the screen stays there.
  function zoomBy(factor, x = width / 2, y = height / 2) {
    const before = scale();
    zoom = Math.min(MOST_ZOOM, Math.max(1, zoom * factor));
    centreX += (x - width / 2) * (1 / before - 1 / scale());
    centreY += (y - height / 2) * (1 / before - 1 / scale());
    keepInside();
    redraw(true);
    place();
  }

  function showAll() {
    zoom = 1;
    keepInside();
    redraw(true);
    place();
  }

  // The nearest point in a direction, one straight ahead before one aside.
  function step(directionX, directionY) {
    if (chosen < 0) {
      let best = -1;
      let bestSquared = Infinity;
      for (let point = 0; point < count; point++) {
        const squared = (xs[point] - centreX) ** 2 + (ys[point] - centreY) ** 2;
        if (squared < bestSquared) [best, bestSquared] = [point, squared];
      }
      choose(best);
      return;
    }
    let best = -1;
    let bestCost = Infinity;
    for (let point = 0; point < count; point++) {
      const awayX = xs[point] - xs[chosen];
      const awayY = ys[point] - ys[chosen];
      const ahead = awayX * directionX + awayY * directionY;
      const aside = Math.abs(awayX * directionY - awayY * directionX);
      const cost = ahead + 2.5 * aside;
      if (ahead > 0 && ahead >= aside && cost < bestCost) [best, bestCost] = [point, cost];
    }
    if (best < 0) return;
    choose(best);
    const [x, y] = [screenX(xs[best]), screenY(ys[best])];
    if (x < 0 || y < 0 || x > width || y > height) {
      [centreX, centreY] = [xs[best], ys[best]];
      keepInside();
      redraw(true);
      place();
    }
  }

  const position = (event) => {
    const bounds = canvas.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };
  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = position(event);
    choose(nearest(x, y));
    if (event.pointerType === "mouse" && event.button === 0) {
      dragged = [x, y];
      canvas.setPointerCapture(event.pointerId);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = position(event);
    if (dragged && event.buttons) {
      centreX -= (x - dragged[0]) / scale();
      centreY -= (y - dragged[1]) / scale();
      dragged = [x, y];
      keepInside();
      redraw(true);
      place();
    } else {
      choose(nearest(x, y));
    }
  });
  canvas.addEventListener("pointerup", () => (dragged = null));
  canvas.addEventListener("pointercancel", () => (dragged = null));
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse" && document.activeElement !== canvas) choose(-1);
  });
  canvas.addEventListener("blur", () => choose(-1));
  canvas.addEventListener("dblclick", (event) => zoomBy(2, ...position(event)));
  // Only with Ctrl, which is also what pinching a touch pad sends: the page still scrolls over the map.
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoomBy(Math.pow(2, -event.deltaY / 150), ...position(event));
    },
    { passive: false },
  );
  const keys = {
    ArrowLeft: () => step(-1, 0),
    ArrowRight: () => step(1, 0),
    ArrowUp: () => step(0, -1),
    ArrowDown: () => step(0, 1),
    "+": () => zoomBy(1.5),
    "=": () => zoomBy(1.5),
    "-": () => zoomBy(1 / 1.5),
    0: showAll,
    Escape: () => choose(-1),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  const zooms = { in: () => zoomBy(1.6), out: () => zoomBy(1 / 1.6), all: showAll };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", zooms[button.dataset.zoom]);
  }

  // Clusters light up from the list beside the map.
  const highlight = (cluster) => {
    highlighted = cluster;
    redraw(true);
  };
  for (const link of document.querySelectorAll("[data-cluster]")) {
    const cluster = Number(link.dataset.cluster);
    for (const event of ["pointerenter", "focus"]) link.addEventListener(event, () => highlight(cluster));
    for (const event of ["pointerleave", "blur"]) link.addEventListener(event, () => highlight(-1));
  }

  for (const id of ["map-canvas", "map-zoom", "map-help"]) element(id).hidden = false;
  element("map-still").remove();
  new ResizeObserver(() => {
    width = plane.clientWidth;
    height = plane.clientHeight;
    redraw(true);
    place();
  }).observe(plane);
})();
