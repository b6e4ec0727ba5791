"use strict";
// What every page's script uses: its data, and numbers as text.

const page = JSON.parse(document.getElementById("page").textContent);
const element = (id) => document.getElementById(id);
const CONFIG = { responsive: true, displaylogo: false, scrollZoom: true };

// An array of the page: {dtype, bdata} as plotly has it.
function unpacked({ dtype, bdata }) {
  const kinds = {
    f8: Float64Array, f4: Float32Array, i4: Int32Array, i2: Int16Array, i1: Int8Array,
    u4: Uint32Array, u2: Uint16Array, u1: Uint8Array,
  };
  const bytes = Uint8Array.from(atob(bdata), (letter) => letter.charCodeAt(0));
  return new kinds[dtype](bytes.buffer);
}

const minus = (text) => text.replace("-", "−");

const superscript = (power) => minus(String(power)).replace(/./g, (sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789−".indexOf(sign)]);

// 0.0512, 200, 3.1·10⁻⁷, ∞: so many digits that say something.
function short(value, digits = 4) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-3 && size < 1e4)) return minus(String(Number(value.toPrecision(digits))));
  const [lead, power] = value.toExponential(digits - 1).split("e");
  const factor = minus(String(Number(lead)));
  return `${factor === "1" ? "" : `${factor}·`}10${superscript(Number(power))}`;
}

const percent = (fraction) => `${(100 * fraction).toFixed(2)} %`;
