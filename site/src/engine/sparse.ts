// Linear systems on a grid of pixels, solved exactly.
// Nested dissection (George 1973) orders the pixels so that few values fill in; then a symmetric
// sparse factorization, row by row along the elimination tree (Davis 2006, "Direct Methods for
// Sparse Linear Systems", chapter 4). At 128x96 px this takes a tenth of the operations that a
// banded factorization takes.

const LEAF = 8; // pixels of a part that is not divided further

/**
 * Solve, for each of several right sides b and at each pixel,
 * diagonal * x - sum of links * neighbours' x = b.
 *
 * @param diagonal Larger than the sum of the pixel's links: width * height values, row by row.
 * @param right Link of each pixel to its right neighbour, not negative; 0 in the last column.
 * @param below Likewise to the one below; 0 in the last row.
 * @param values b of each right side; replaced by x.
 */
export function solveGrid(
  width: number,
  height: number,
  diagonal: Float64Array,
  right: Float64Array,
  below: Float64Array,
  values: Float64Array[],
): void {
  const size = width * height;
  const pixels = eliminationOrder(width, height);
  const ranks = new Int32Array(size);
  pixels.forEach((pixel, rank) => (ranks[pixel] = rank));
  // Of each row of the matrix, what is left of the diagonal: neighbours of a lower rank.
  const starts = new Int32Array(size + 1);
  const columns = new Int32Array(4 * size);
  const entries = new Float64Array(4 * size);
  let count = 0;
  for (let rank = 0; rank < size; rank++) {
    const pixel = pixels[rank];
    const x = pixel % width;
    const add = (neighbor: number, link: number): void => {
      if (ranks[neighbor] > rank) return;
      columns[count] = ranks[neighbor];
      entries[count++] = -link;
    };
    if (x > 0) add(pixel - 1, right[pixel - 1]);
    if (x < width - 1) add(pixel + 1, right[pixel]);
    if (pixel >= width) add(pixel - width, below[pixel - width]);
    if (pixel < size - width) add(pixel + width, below[pixel]);
    starts[rank + 1] = count;
  }
  const factor = factorize(starts, columns, entries, diagonal, pixels);
  const ordered = new Float64Array(size);
  for (const value of values) {
    pixels.forEach((pixel, rank) => (ordered[rank] = value[pixel]));
    substitute(factor, ordered);
    pixels.forEach((pixel, rank) => (value[pixel] = ordered[rank]));
  }
}

/** Return all pixels of a grid: those of two halves, then the line between them, and so on. */
function eliminationOrder(width: number, height: number): Int32Array {
  const order = new Int32Array(width * height);
  let count = 0;
  const addAll = (left: number, top: number, w: number, h: number): void => {
    for (let y = top; y < top + h; y++) {
      for (let x = left; x < left + w; x++) order[count++] = y * width + x;
    }
  };
  const dissect = (left: number, top: number, w: number, h: number): void => {
    const half = Math.floor(Math.max(w, h) / 2);
    if (w * h <= LEAF) addAll(left, top, w, h);
    else if (w >= h) {
      dissect(left, top, half, h);
      dissect(left + half + 1, top, w - half - 1, h);
      addAll(left + half, top, 1, h);
    } else {
      dissect(left, top, w, half);
      dissect(left, top + half + 1, w, h - half - 1);
      addAll(left, top + half, w, 1);
    }
  };
  dissect(0, 0, width, height);
  return order;
}

/** L D L^T of a matrix: the columns of L without its diagonal of 1, and D. */
interface Factor {
  starts: Int32Array;
  rows: Int32Array;
  values: Float64Array;
  diagonal: Float64Array;
}

/** Factorize a symmetric matrix, given row by row by what is left of its diagonal. */
function factorize(
  starts: Int32Array,
  columns: Int32Array,
  entries: Float64Array,
  unorderedDiagonal: Float64Array,
  pixels: Int32Array,
): Factor {
  const size = pixels.length;
  const parents = new Int32Array(size).fill(-1); // the elimination tree
  const visited = new Int32Array(size).fill(-1); // by which row
  const counts = new Int32Array(size); // of values in each column of L
  for (let row = 0; row < size; row++) {
    visited[row] = row;
    for (let entry = starts[row]; entry < starts[row + 1]; entry++) {
      for (let i = columns[entry]; visited[i] !== row; i = parents[i]) {
        if (parents[i] < 0) parents[i] = row;
        visited[i] = row;
        counts[i]++;
      }
    }
  }
  const firsts = new Int32Array(size + 1);
  for (let i = 0; i < size; i++) firsts[i + 1] = firsts[i] + counts[i];
  const rows = new Int32Array(firsts[size]);
  const values = new Float64Array(firsts[size]);
  const ends = firsts.slice(); // of each column, so far
  const diagonal = new Float64Array(size);
  const work = new Float64Array(size); // a row of L D, before it is complete
  const pattern = new Int32Array(size); // columns where it is not 0, each before its ancestors
  const path = new Int32Array(size);
  visited.fill(-1);
  for (let row = 0; row < size; row++) {
    let top = size;
    visited[row] = row;
    for (let entry = starts[row]; entry < starts[row + 1]; entry++) {
      work[columns[entry]] = entries[entry];
      let length = 0;
      for (let i = columns[entry]; visited[i] !== row; i = parents[i]) {
        path[length++] = i;
        visited[i] = row;
      }
      while (length > 0) pattern[--top] = path[--length];
    }
    let pivot = unorderedDiagonal[pixels[row]];
    for (; top < size; top++) {
      const column = pattern[top];
      const value = work[column];
      const end = ends[column];
      work[column] = 0;
      for (let i = firsts[column]; i < end; i++) work[rows[i]] -= values[i] * value;
      const scaled = value / diagonal[column];
      pivot -= scaled * value;
      rows[end] = row;
      values[end] = scaled;
      ends[column] = end + 1;
    }
    diagonal[row] = pivot;
  }
  return { starts: firsts, rows, values, diagonal };
}

/** Replace the right side of a system by its solution. */
function substitute({ starts, rows, values, diagonal }: Factor, x: Float64Array): void {
  const size = x.length;
  for (let column = 0; column < size; column++) {
    const value = x[column];
    for (let i = starts[column]; i < starts[column + 1]; i++) x[rows[i]] -= values[i] * value;
  }
  for (let column = size - 1; column >= 0; column--) {
    let value = x[column] / diagonal[column];
    for (let i = starts[column]; i < starts[column + 1]; i++) value -= values[i] * x[rows[i]];
    x[column] = value;
  }
}
