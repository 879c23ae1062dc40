"use strict";
// Figure 1: the similarity of a clicked pixel of a frame to every pixel of the anchor, softmax(X_0 x / sqrt(C)) (Eq. 2).
(() => {
  const section = document.getElementById("explorer");
  const items = JSON.parse(document.getElementById("explorer-data").textContent);
  const [label, sequence, frame, scale] = ["label", "sequence", "frame", "scale"].map((n) => section.querySelector(`[name=${n}]`));
  const [left, right] = section.querySelectorAll("canvas");
  const readout = section.querySelector("output");
  const colours = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
  const points = {}; // the chosen pixel of each sequence and frame: variants are compared at the same one
  let item;

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

  const decode = (stored) => {
    if (!stored.decoded) {
      const picture = new Image();
      picture.src = stored.picture;
      stored.decoded = {
        values: new Int8Array(bytes(stored.values).buffer),
        scales: new Float32Array(bytes(stored.scales).buffer),
        foreground: bytes(stored.foreground),
        picture,
        ready: picture.decode(),
      };
    }
    return stored.decoded;
  };

  const similarity = (current, anchor, pixel, { channels }) => {
    const scores = new Float64Array(anchor.scales.length);
    for (let p = 0; p < scores.length; p++) {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += current.values[pixel * channels + c] * anchor.values[p * channels + c];
      scores[p] = (sum * current.scales[pixel] * anchor.scales[p]) / Math.sqrt(channels);
    }
    const largest = scores.reduce((a, b) => Math.max(a, b));
    const weights = scores.map((score) => Math.exp(score - largest));
    const total = weights.reduce((a, b) => a + b);
    return weights.map((weight) => weight / total);
  };

  const fit = (canvas, picture) => {
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    return canvas.getContext("2d");
  };

  // With aligned corners, the first and the last embedding lie on the border of the picture.
  const position = (canvas, index) => [
    ((index % item.width) / (item.width - 1)) * canvas.width,
    (Math.floor(index / item.width) / (item.height - 1)) * canvas.height,
  ];

  const cross = (canvas, index) => {
    const context = canvas.getContext("2d");
    const [x, y] = position(canvas, index);
    for (const [style, width] of [["#fff", 6], ["#d55e00", 2.5]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x - 12, y); context.lineTo(x + 12, y);
      context.moveTo(x, y - 12); context.lineTo(x, y + 12);
      context.stroke();
    }
  };

  const heatmap = (shares) => {
    const map = document.createElement("canvas");
    map.width = item.width;
    map.height = item.height;
    const context = map.getContext("2d");
    const pixels = context.createImageData(item.width, item.height);
    const largest = shares.reduce((a, b) => Math.max(a, b));
    shares.forEach((share, p) => {
      const place = (scale.value === "log" ? Math.max(0, 1 + Math.log10(share / largest) / 3) : share / largest) * (colours.length - 1);
      const lower = Math.min(Math.floor(place), colours.length - 2);
      for (let c = 0; c < 3; c++) {
        pixels.data[4 * p + c] = colours[lower][c] + (place - lower) * (colours[lower + 1][c] - colours[lower][c]);
      }
      pixels.data[4 * p + 3] = 255;
    });
    context.putImageData(pixels, 0, 0);
    return map;
  };

  const draw = async () => {
    const shown = item;
    const index = Number(frame.value);
    const anchor = decode(item.frames[0]);
    const current = decode(item.frames[index]);
    await Promise.all([anchor.ready, current.ready]);
    if (shown !== item || index !== Number(frame.value)) return; // another choice was made meanwhile
    const key = `${item.sequence} ${item.frames[index].name}`;
    if (!(key in points)) points[key] = middle(current.foreground);
    const pixel = points[key];
    const shares = similarity(current, anchor, pixel, item);

    fit(left, current.picture).drawImage(current.picture, 0, 0);
    cross(left, pixel);
    const context = fit(right, anchor.picture);
    context.filter = "grayscale(1)";
    context.drawImage(anchor.picture, 0, 0);
    context.filter = "none";
    context.globalAlpha = 0.7;
    const [stepX, stepY] = [right.width / (item.width - 1), right.height / (item.height - 1)];
    context.drawImage(heatmap(shares), -stepX / 2, -stepY / 2, stepX * item.width, stepY * item.height);
    context.globalAlpha = 1;

    const largest = shares.reduce((best, share, p) => (share > shares[best] ? p : best), 0);
    const inside = shares.reduce((sum, share, p) => sum + share * anchor.foreground[p], 0);
    const area = anchor.foreground.reduce((a, b) => a + b, 0) / shares.length;
    const at = (p) => `row ${Math.floor(p / item.width)}, column ${p % item.width}`;
    readout.dataset.pixel = pixel;
    readout.dataset.largest = largest;
    readout.dataset.inside = inside;
    readout.textContent =
      `Pixel at ${at(pixel)} of the ${item.height} × ${item.width} grid (${current.foreground[pixel] ? "foreground" : "background"}): ` +
      `${(100 * inside).toFixed(1)} % of its similarity lies on the anchor's foreground, which covers ${(100 * area).toFixed(1)} % of it; ` +
      `the largest share, ${(100 * shares[largest]).toFixed(2)} %, at ${at(largest)}.`;
  };

  // A foreground pixel to begin with: the one nearest to the foreground's centre.
  const middle = (foreground) => {
    const { width, height } = item;
    const inside = [...foreground.keys()].filter((p) => foreground[p]);
    if (!inside.length) return Math.floor(height / 2) * width + Math.floor(width / 2);
    const row = inside.reduce((sum, p) => sum + Math.floor(p / width), 0) / inside.length;
    const column = inside.reduce((sum, p) => sum + (p % width), 0) / inside.length;
    const distance = (p) => (Math.floor(p / width) - row) ** 2 + ((p % width) - column) ** 2;
    return inside.reduce((best, p) => (distance(p) < distance(best) ? p : best));
  };

  const choose = (row, column) => {
    const [r, c] = [Math.min(Math.max(row, 0), item.height - 1), Math.min(Math.max(column, 0), item.width - 1)];
    points[`${item.sequence} ${item.frames[Number(frame.value)].name}`] = r * item.width + c;
    draw();
  };

  const options = (select, values) => {
    const before = select.value;
    select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
    if (values.some(([value]) => value === before)) select.value = before;
  };

  const select = () => {
    const labels = items.filter((one) => one.sequence === sequence.value).map((one) => one.label);
    options(label, labels.map((text) => [text, text]));
    item = items.find((one) => one.sequence === sequence.value && one.label === label.value);
    options(frame, item.frames.map((one, index) => [String(index), index ? one.name : `${one.name} (the anchor itself)`]));
    draw();
  };

  left.addEventListener("click", (event) => {
    const box = left.getBoundingClientRect();
    choose(
      Math.round(((event.clientY - box.top) / box.height) * (item.height - 1)),
      Math.round(((event.clientX - box.left) / box.width) * (item.width - 1)),
    );
  });
  left.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const pixel = points[`${item.sequence} ${item.frames[Number(frame.value)].name}`];
    choose(Math.floor(pixel / item.width) + step[0], (pixel % item.width) + step[1]);
  });
  label.addEventListener("change", select);
  sequence.addEventListener("change", () => { select(); frame.value = String(item.frames.length - 1); draw(); });
  frame.addEventListener("change", draw);
  scale.addEventListener("change", draw);

  options(sequence, [...new Set(items.map((one) => one.sequence))].map((name) => [name, name]));
  select();
  frame.value = String(item.frames.length - 1);
  draw();
})();
