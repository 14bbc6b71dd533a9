// The page: sliders, one large image and the samples. GALLERY is in data.js, which `gansketching gallery` writes.
"use strict";

const sliders = GALLERY.sliders; // {id, label, default} and {low, high} or {values}
const large = document.getElementById("large");
const statusLine = document.getElementById("status");
const tiles = []; // of the samples: {canvas, button, z, shown}; `shown` is the position that the canvas shows
const source = GALLERY.live ? liveSource() : storedSource();
let chosen = 0;
let busy = false;

document.title = GALLERY.title;
document.getElementById("title").textContent = GALLERY.title;
document.getElementById("about").textContent = GALLERY.about;
large.width = large.height = GALLERY.resolution;
addSliders();
addButtons();
addSamples();
source.start();

// --------------------------------------------------------------------------------------------------------- sliders

function addSliders() {
  for (const slider of sliders) {
    const label = document.createElement("label");
    label.className = "slider";
    const text = document.createElement("span");
    text.textContent = slider.label;
    slider.output = document.createElement("output");
    slider.input = document.createElement("input");
    slider.input.type = "range";
    slider.input.min = slider.values ? 0 : slider.low;
    slider.input.max = slider.values ? slider.values.length - 1 : slider.high;
    slider.input.step = slider.values ? 1 : "any";
    slider.input.addEventListener("input", () => moved(slider));
    label.append(text, slider.input, slider.output); // a label belongs to the first of its elements
    document.getElementById("sliders").append(label);
    setValue(slider, slider.default);
  }
}

function valueOf(slider) {
  const number = Number(slider.input.value);
  return slider.values ? slider.values[number] : number;
}

function setValue(slider, value) {
  slider.input.value = slider.values ? slider.values.indexOf(value) : value;
  showValue(slider);
}

function showValue(slider) {
  slider.output.textContent = valueOf(slider).toFixed(2).replace("-0.00", "0.00");
}

function moved(slider) {
  showValue(slider);
  if (!GALLERY.live) {
    // Stored images show truncation and strength together, and each direction alone.
    const isDirection = (other) => other.id.startsWith("direction");
    for (const other of sliders) {
      if (other !== slider && (isDirection(slider) || isDirection(other))) setValue(other, other.default);
    }
  }
  work();
}

function addButtons() {
  const button = (text, action) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", action);
    document.getElementById("sliders").append(made);
  };
  button("Reset sliders", () => {
    for (const slider of sliders) setValue(slider, slider.default);
    work();
  });
  if (GALLERY.live) {
    button("New samples", () => {
      for (const tile of tiles) {
        tile.z = Float32Array.from(tile.z, normal);
        tile.shown = "";
      }
      work();
    });
  }
}

// A random number of the standard normal distribution.
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

// --------------------------------------------------------------------------------------------------------- samples

function addSamples() {
  for (let k = 0; k < GALLERY.samples; k++) {
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = GALLERY.resolution;
    button.type = "button";
    button.title = `Sample ${k + 1}`;
    button.append(canvas);
    button.addEventListener("click", () => choose(k));
    document.getElementById("samples").append(button);
    tiles.push({ canvas, button, shown: "", z: null });
  }
  choose(0);
}

function choose(k) {
  chosen = k;
  tiles.forEach((tile, n) => tile.button.setAttribute("aria-pressed", String(n === k)));
  if (tiles[k].shown) copyToLarge();
  work();
}

function copyToLarge() {
  large.getContext("2d").drawImage(tiles[chosen].canvas, 0, 0);
}

// The position of the sliders. Of stored images, those of their values, "2 4 0", as gallery.py writes them.
function position() {
  return sliders.map((slider) => slider.input.value).join(" ");
}

// Shows the next image that is not up to date: the chosen one first, and one at a time.
function work() {
  if (busy || !source.ready) return;
  const wanted = position();
  const next = [tiles[chosen], ...tiles].find((tile) => tile.shown !== wanted);
  if (next) {
    busy = true;
    source.draw(next, wanted);
  }
}

function drawn(tile, shown, picture) {
  const context = tile.canvas.getContext("2d");
  if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
  else context.drawImage(picture, 0, 0);
  tile.shown = shown;
  if (tile === tiles[chosen]) copyToLarge();
  busy = false;
  work();
}

function failed(message) {
  statusLine.textContent = `The images cannot be shown: ${message}`;
}

// ---------------------------------------------------------------------------------------- images of the generator

function liveSource() {
  const url = URL.createObjectURL(new Blob([`(${startEngine})(self)`], { type: "text/javascript" }));
  const worker = new Worker(url);
  const self = { ready: false, start, draw };
  let current = null; // the image that the worker computes

  function start() {
    statusLine.textContent = "Preparing the generator …";
    const size = GALLERY.model.zSize;
    const bytes = Uint8Array.from(atob(GALLERY.model.z), (letter) => letter.charCodeAt(0));
    const z = new Float32Array(bytes.buffer);
    tiles.forEach((tile, k) => (tile.z = z.slice(k * size, (k + 1) * size)));
    worker.onerror = (event) => failed(event.message);
    worker.onmessage = received;
    worker.postMessage({ load: GALLERY.model });
  }

  function draw(tile, shown) {
    const values = Object.fromEntries(sliders.map((slider) => [slider.id, valueOf(slider)]));
    const { truncation, strength = 1, ...steps } = values;
    current = { tile, shown, began: performance.now() };
    worker.postMessage({ z: tile.z, truncation, strength, steps: Object.values(steps) });
  }

  function received({ data }) {
    if (data.error) {
      failed(data.error);
    } else if (data.ready) {
      self.ready = true;
      work();
    } else {
      statusLine.textContent = `${((performance.now() - current.began) / 1000).toFixed(2)} seconds an image`;
      const z = current.tile.z;
      drawn(current.tile, current.shown, new ImageData(data.pixels, GALLERY.resolution));
      if (z !== current.tile.z) current.tile.shown = "";
    }
  }

  return self;
}

// ----------------------------------------------------------------------------------------------- images in the folder

function storedSource() {
  const isDirection = sliders.some((slider) => slider.id.startsWith("direction"));

  function start() {
    statusLine.textContent = isDirection ? "A direction is shown with all other sliders at their defaults." : "";
    work();
  }

  function draw(tile, shown) {
    const image = new Image();
    image.onload = () => drawn(tile, shown, image);
    image.onerror = () => failed(`${image.src} is missing`);
    image.src = GALLERY.images[shown][tiles.indexOf(tile)];
  }

  return { ready: true, start, draw };
}
