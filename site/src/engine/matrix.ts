// Matrices of 3 x 3 in double precision, row by row.

type Matrix = ArrayLike<number>;

/** Return the product of two matrices. */
export function multiply(first: Matrix, second: Matrix): Float64Array {
  return Float64Array.from({ length: 9 }, (_, i) => {
    const [row, column] = [i - (i % 3), i % 3];
    return (
      first[row] * second[column] +
      first[row + 1] * second[column + 3] +
      first[row + 2] * second[column + 6]
    );
  });
}

/** Return the determinant of a matrix. */
export function determinant(m: Matrix): number {
  return (
    m[0] * (m[4] * m[8] - m[5] * m[7]) -
    m[1] * (m[3] * m[8] - m[5] * m[6]) +
    m[2] * (m[3] * m[7] - m[4] * m[6])
  );
}

/** Return the inverse of a matrix that has one. */
export function invert(m: Matrix): Float64Array {
  const scale = 1 / determinant(m);
  return Float64Array.of(
    m[4] * m[8] - m[5] * m[7], m[2] * m[7] - m[1] * m[8], m[1] * m[5] - m[2] * m[4],
    m[5] * m[6] - m[3] * m[8], m[0] * m[8] - m[2] * m[6], m[2] * m[3] - m[0] * m[5],
    m[3] * m[7] - m[4] * m[6], m[1] * m[6] - m[0] * m[7], m[0] * m[4] - m[1] * m[3],
  ).map((value) => value * scale);
}
