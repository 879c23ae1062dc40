// An editor of a frame's mask, in a gr.HTML: `element`, `props` and `watch` are Gradio's.
// The server sets props.value to {frame, picture, mask, corrected}, with the pictures as URLs. The editor returns it with the
// drawing added as `drawn`, a data URL of a PNG whose alpha channel is the mask.
element.innerHTML = `
  <div class="tools">
    <label class="tool"><input type="radio" name="tool" value="source-over" checked>Add</label>
    <label class="tool"><input type="radio" name="tool" value="destination-out">Erase</label>
    <label>Width <input type="range" name="width" min="2" max="200" value="24"></label>
    <button type="button" name="undo">Undo</button>
    <button type="button" name="clear">Clear</button>
    <button type="button" name="keep">It is right</button>
    <output></output>
  </div>
  <div class="drawing"><img alt="Frame"><canvas></canvas></div>`;
const [image, canvas, said] = ["img", "canvas", "output"].map((name) => element.querySelector(name));
const pen = canvas.getContext("2d", { willReadFrequently: true });
const MOST_UNDONE = 8;
let earlier = [];

async function show() {
  const value = props.value;
  if (!value?.picture) return;
  const mask = new Image();
  [image.src, mask.src] = [value.picture, value.mask];
  await Promise.all([image.decode(), mask.decode()]);
  if (props.value.mask !== value.mask) return; // another frame came in the meantime
  [canvas.width, canvas.height] = [mask.naturalWidth, mask.naturalHeight];
  canvas.parentElement.style.width = `min(100%, ${(70 * canvas.width) / canvas.height}vh)`;
  pen.drawImage(mask, 0, 0); // setting the size has reset the pen
  earlier = [];
  said.textContent = value.corrected ? "Corrected" : "";
}

function remember() {
  earlier = [...earlier, pen.getImageData(0, 0, canvas.width, canvas.height)].slice(-MOST_UNDONE);
}

function keep() {
  props.value = { ...props.value, drawn: canvas.toDataURL("image/png") };
  said.textContent = "Corrected";
}

function at(event) {
  const scale = canvas.width / canvas.clientWidth;
  return [event.offsetX * scale, event.offsetY * scale];
}

function stroke(event) {
  pen.lineTo(...at(event));
  pen.stroke();
  pen.beginPath();
  pen.moveTo(...at(event));
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return;
  canvas.setPointerCapture(event.pointerId);
  remember();
  pen.globalCompositeOperation = element.querySelector("[name=tool]:checked").value;
  pen.lineWidth = (element.querySelector("[name=width]").value * canvas.width) / canvas.clientWidth;
  pen.strokeStyle = pen.fillStyle = "#e01e84";
  pen.lineCap = "round";
  pen.beginPath();
  pen.arc(...at(event), pen.lineWidth / 2, 0, 2 * Math.PI); // a canvas draws no line without length
  pen.fill();
  pen.beginPath();
  pen.moveTo(...at(event));
});
canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && stroke(event));
canvas.addEventListener("lostpointercapture", keep);
element.querySelector("[name=undo]").addEventListener("click", () => {
  if (!earlier.length) return;
  pen.putImageData(earlier.pop(), 0, 0);
  keep();
});
element.querySelector("[name=clear]").addEventListener("click", () => {
  remember();
  pen.clearRect(0, 0, canvas.width, canvas.height);
  keep();
});
element.querySelector("[name=keep]").addEventListener("click", keep);
watch("value", show);
show();
