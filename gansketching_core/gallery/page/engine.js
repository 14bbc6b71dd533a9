// A StyleGAN2 generator in plain JavaScript. `startEngine` runs in a worker, which page.js makes from its text, because
// browsers start no worker from a file that was opened without a server. It may use nothing from outside itself.
//
// Messages to it:  {load: GALLERY.model}, then {key, z, truncation, strength, steps} for an image.
// Messages from it: {ready: true}, {key, pixels: Uint8ClampedArray [R*R*4]} or {error}.
//
// Maps are Float32Arrays [channels, height, width]. The numbers are those of networks/stylegan2.py.
"use strict";

function startEngine(scope) {
  const GAIN = Math.SQRT2;
  const BLOCK = 4; // output channels that are computed together
  let net = null; // settings of the network
  let arrays = null; // its arrays by name
  let layers = null; // its layers, with their weights in the order of `convolve`

  scope.onmessage = ({ data }) => {
    try {
      if (data.load) {
        load(data.load);
        scope.postMessage({ ready: true });
      } else {
        const pixels = synthesize(styles(data));
        scope.postMessage({ key: data.key, pixels }, [pixels.buffer]);
      }
    } catch (error) {
      scope.postMessage({ error: String(error) });
    }
  };

  // ------------------------------------------------------------------------------------------------------ loading

  function load(network) {
    net = network;
    arrays = {};
    const pools = { exact: new Float32Array(bytes(net.exact)), half: fromHalf(new Uint16Array(bytes(net.half))) };
    const used = { exact: 0, half: 0 };
    for (const [name, pool, count] of net.arrays) {
      arrays[name] = pools[pool].subarray(used[pool], (used[pool] += count));
    }
    layers = net.layers.map((layer, k) => prepared(layer, k));
  }

  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  }

  function fromHalf(words) {
    const powers = Float32Array.from({ length: 32 }, (_, e) => 2 ** (Math.max(e, 1) - 25));
    return Float32Array.from(words, (word) => {
      const exponent = (word >> 10) & 31;
      const value = ((word & 1023) + (exponent ? 1024 : 0)) * powers[exponent];
      return word & 0x8000 ? -value : value;
    });
  }

  // Adds to a layer {fanIn, fanOut, size, up}: energy [O, I], the sums of its squared weights, and the phases of its
  // convolution. A phase is one convolution with some of the 3x3 taps; with `up` there are four, one for each of the
  // pixels that a pixel becomes.
  function prepared(layer, k) {
    const { fanIn, fanOut, up } = layer;
    const weight = arrays[`layers.${k}.weight`];
    const energy = new Float32Array(fanOut * fanIn);
    for (let n = 0; n < energy.length; n++) {
      for (let t = 0; t < 9; t++) energy[n] += weight[9 * n + t] ** 2;
    }
    const pitch = (up ? layer.size / 2 : layer.size) + 2;
    const every = [0, 1, 2].flatMap((y) => [0, 1, 2].map((x) => [3 * y + x, y * pitch + x]));
    const here = pitch + 1; // the pixel itself, in a map with a border
    const phases = up
      ? [
          { row: 0, column: 0, taps: [[0, here], [2, here - 1], [6, 1], [8, 0]] },
          { row: 0, column: 1, taps: [[1, here], [7, 1]] },
          { row: 1, column: 0, taps: [[3, here], [5, here - 1]] },
          { row: 1, column: 1, taps: [[4, here]] },
        ]
      : [{ row: 0, column: 0, taps: every }];
    for (const phase of phases) {
      phase.offsets = Int32Array.from(phase.taps, ([, offset]) => offset);
      phase.weights = inBlocks(weight, fanIn, fanOut, phase.taps.map(([tap]) => tap));
    }
    return { ...layer, energy, phases };
  }

  // [O, I, 9] -> [O / BLOCK, I, taps, BLOCK], with zeros in channels that do not exist.
  function inBlocks(weight, fanIn, fanOut, taps) {
    const blocks = new Float32Array(Math.ceil(fanOut / BLOCK) * fanIn * taps.length * BLOCK);
    let n = 0;
    for (let block = 0; block < fanOut; block += BLOCK) {
      for (let i = 0; i < fanIn; i++) {
        for (const tap of taps) {
          for (let o = block; o < block + BLOCK; o++, n++) {
            if (o < fanOut) blocks[n] = weight[(o * fanIn + i) * 9 + tap];
          }
        }
      }
    }
    return blocks;
  }

  // -------------------------------------------------------------------------------------------------------- mapping

  // w [w_dim], truncated and moved along the directions: `coarse` of the layers up to net.detailsFrom, between the
  // original and the customised model; `fine` of those from there on, which keep the original's colours.
  function styles({ z, truncation, strength, steps }) {
    let w = mapped(z, "model", truncation);
    if (net.original) {
      const start = mapped(z, "original", truncation);
      w = w.map((value, n) => start[n] + strength * (value - start[n]));
    }
    const fine = net.detailsFrom === null ? w : mapped(z, "details", truncation);
    return { coarse: moved(w, steps), fine: moved(fine, steps) };
  }

  function moved(w, steps) {
    const directions = arrays.directions;
    const result = w.slice();
    steps.forEach((step, k) => {
      if (step) for (let n = 0; n < w.length; n++) result[n] += step * directions[k * w.length + n];
    });
    return result;
  }

  function mapped(z, name, truncation) {
    const scale = 1 / Math.sqrt(z.reduce((sum, value) => sum + value * value, 0) / z.length + 1e-8);
    let x = z.map((value) => value * scale);
    for (let k = 0; k < net.mappingLayers; k++) {
      x = linear(x, `${name}.${k}`).map((value) => (value < 0 ? 0.2 * value : value));
    }
    const shift = arrays[`${name}.shift`];
    const mean = arrays[`${name}.mean`];
    return x.map((value, n) => mean[n] + truncation * (value + shift[n] - mean[n]));
  }

  function linear(x, name) {
    const weight = arrays[`${name}.weight`];
    return arrays[`${name}.bias`].map((bias, o) => {
      let sum = bias;
      for (let i = 0, n = o * x.length; i < x.length; i++, n++) sum += weight[n] * x[i];
      return sum;
    });
  }

  // ------------------------------------------------------------------------------------------------------ synthesis

  function synthesize({ coarse, fine }) {
    const first = net.detailsFrom ?? 0;
    const w = (k) => (k < first ? coarse : fine);
    let x = arrays.const;
    let rgb = null;
    layers.forEach((layer, k) => {
      x = styledConvolution(x, layer, linear(w(k), `layers.${k}.affine`), `layers.${k}`);
      if (k % 2 === 0) {
        const colours = toColours(x, layer, linear(w(k + 1), `rgb.${k / 2}.affine`), `rgb.${k / 2}`);
        if (rgb) doubled(rgb, layer.size / 2).forEach((value, n) => (colours[n] += value));
        rgb = colours;
      }
    });
    const area = rgb.length / 3;
    const pixels = new Uint8ClampedArray(4 * area).fill(255); // it rounds and clips
    for (let n = 0; n < area; n++) {
      for (let c = 0; c < 3; c++) pixels[4 * n + c] = (rgb[c * area + n] + 1) * 127.5;
    }
    return pixels;
  }

  function styledConvolution(x, layer, style, name) {
    const { fanIn, fanOut, size, up } = layer;
    const from = up ? size / 2 : size;
    const input = withBorder(x, fanIn, from, style);
    const pitch = up ? size + 3 : size; // of the result; with `up` it is one wider than size, and has a border
    const result = new Float32Array(fanOut * pitch * pitch);
    for (const phase of layer.phases) {
      const step = up ? 2 : 1;
      const rows = from + (up && !phase.row);
      const columns = from + (up && !phase.column);
      const first = up ? (phase.row + 1) * pitch + phase.column + 1 : 0;
      convolve(input, from + 2, fanIn, phase, result, pitch, fanOut, { rows, columns, first, step });
    }
    const y = up ? filtered(result, fanOut, size) : result;
    finish(y, layer, style, name);
    return y;
  }

  // [C, size, size] times style [C] -> [C, size + 2, size + 2], with zeros around it and after the end.
  function withBorder(x, channels, size, style) {
    const pitch = size + 2;
    const result = new Float32Array(channels * pitch * pitch + BLOCK);
    for (let c = 0; c < channels; c++) {
      for (let row = 0; row < size; row++) {
        let to = (c * pitch + row + 1) * pitch + 1;
        for (let n = (c * size + row) * size, end = n + size; n < end; n++) result[to++] = x[n] * style[c];
      }
    }
    return result;
  }

  // Four channels of four pixels at a time, so that each number that is read serves four multiplications.
  function convolve(input, pitch, fanIn, { offsets, weights }, output, outPitch, fanOut, { rows, columns, first, step }) {
    const plane = pitch * pitch;
    const outPlane = outPitch * outPitch;
    const taps = offsets.length;
    for (let o = 0; o < fanOut; o += BLOCK) {
      const start = o * fanIn * taps;
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column += 4) {
          let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
          let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
          let n = start;
          let base = row * pitch + column;
          for (let i = 0; i < fanIn; i++, base += plane) {
            for (let t = 0; t < taps; t++, n += BLOCK) {
              const at = base + offsets[t];
              const x0 = input[at], x1 = input[at + 1], x2 = input[at + 2], x3 = input[at + 3];
              let w = weights[n];
              a0 += w * x0; a1 += w * x1; a2 += w * x2; a3 += w * x3;
              w = weights[n + 1];
              b0 += w * x0; b1 += w * x1; b2 += w * x2; b3 += w * x3;
              w = weights[n + 2];
              c0 += w * x0; c1 += w * x1; c2 += w * x2; c3 += w * x3;
              w = weights[n + 3];
              d0 += w * x0; d1 += w * x1; d2 += w * x2; d3 += w * x3;
            }
          }
          const sums = [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3];
          const here = Math.min(4, columns - column);
          for (let m = 0; m < BLOCK && o + m < fanOut; m++) {
            let to = (o + m) * outPlane + first + row * step * outPitch + column * step;
            for (let p = 0; p < here; p++, to += step) output[to] = sums[4 * m + p];
          }
        }
      }
    }
  }

  // The low-pass filter [1,3,3,1] / 4 in both axes: [C, size + 3, size + 3] -> [C, size, size].
  function filtered(x, channels, size) {
    const pitch = size + 3;
    const result = new Float32Array(channels * size * size);
    const across = new Float32Array(pitch * size);
    for (let c = 0; c < channels; c++) {
      const plane = c * pitch * pitch;
      for (let row = 0; row < pitch; row++) {
        for (let column = 0; column < size; column++) {
          const n = plane + row * pitch + column;
          across[row * size + column] = (x[n] + x[n + 3] + 3 * (x[n + 1] + x[n + 2])) / 4;
        }
      }
      for (let n = 0; n < size * size; n++) {
        const ends = across[n] + across[n + 3 * size];
        result[c * size * size + n] = (ends + 3 * (across[n + size] + across[n + 2 * size])) / 4;
      }
    }
    return result;
  }

  // Demodulation, noise, bias, leaky ReLU and clamp, in place.
  function finish(x, { fanIn, fanOut, size, energy }, style, name) {
    const noise = arrays[`${name}.noise`];
    const bias = arrays[`${name}.bias`];
    const clamp = net.clamp || Infinity;
    for (let o = 0; o < fanOut; o++) {
      let sum = 1e-8;
      for (let i = 0; i < fanIn; i++) sum += energy[o * fanIn + i] * style[i] * style[i];
      const scale = GAIN / Math.sqrt(sum);
      for (let p = 0, n = o * size * size; p < size * size; p++, n++) {
        const value = x[n] * scale + noise[p] + bias[o];
        x[n] = Math.max(-clamp, Math.min(clamp, value < 0 ? 0.2 * value : value));
      }
    }
  }

  function toColours(x, { fanOut, size }, style, name) {
    const area = size * size;
    const weight = arrays[`${name}.weight`]; // [3, channels]
    const clamp = net.clamp || Infinity;
    const result = new Float32Array(3 * area);
    for (let c = 0; c < 3; c++) {
      const colour = result.subarray(c * area, (c + 1) * area).fill(arrays[`${name}.bias`][c]);
      for (let i = 0; i < fanOut; i++) {
        const factor = weight[c * fanOut + i] * style[i];
        for (let p = 0, n = i * area; p < area; p++, n++) colour[p] += factor * x[n];
      }
      for (let p = 0; p < area; p++) colour[p] = Math.max(-clamp, Math.min(clamp, colour[p]));
    }
    return result;
  }

  // Twice as large, with the same filter: [3, size, size] -> [3, 2 size, 2 size].
  function doubled(x, size) {
    const result = new Float32Array(4 * x.length);
    const along = (source, from, step, to, toStep) => {
      for (let n = 0; n < size; n++) {
        const here = 3 * source[from + n * step];
        result[to + 2 * n * toStep] = (here + (n > 0 ? source[from + (n - 1) * step] : 0)) / 4;
        result[to + (2 * n + 1) * toStep] = (here + (n < size - 1 ? source[from + (n + 1) * step] : 0)) / 4;
      }
    };
    const column = new Float32Array(size);
    for (let c = 0; c < 3; c++) {
      const plane = c * 4 * size * size;
      for (let row = 0; row < size; row++) along(x, (c * size + row) * size, 1, plane + row * 2 * size, 1);
      for (let n = 0; n < 2 * size; n++) {
        for (let row = 0; row < size; row++) column[row] = result[plane + row * 2 * size + n];
        along(column, 0, 1, plane + n, 2 * size);
      }
    }
    return result;
  }
}
