// CIEDE2000, the difference of two colours as people see it; about 1 is just visible.

const MAX_SEVENTH = 25 ** 7;
const radians = (degrees: number) => (degrees * Math.PI) / 180;

/**
 * Return CIEDE2000 of two colours of the same L*, on which it then does not depend.
 *
 * Reference: Sharma et al. 2005, "The CIEDE2000 color-difference formula", with the weights all 1.
 */
export function differenceAtEqualLightness(
  firstA: number, firstB: number, secondA: number, secondB: number,
): number {
  const seventh = ((Math.hypot(firstA, firstB) + Math.hypot(secondA, secondB)) / 2) ** 7;
  const stretch = 1.5 - 0.5 * Math.sqrt(seventh / (seventh + MAX_SEVENTH));
  const chroma1 = Math.hypot(firstA * stretch, firstB);
  const chroma2 = Math.hypot(secondA * stretch, secondB);
  const hue1 = Math.atan2(firstB, firstA * stretch);
  const hue2 = Math.atan2(secondB, secondA * stretch);
  let turn = 0;
  if (chroma1 * chroma2 !== 0) {
    const whole = 2 * Math.PI;
    turn = ((((hue2 - hue1 + Math.PI) % whole) + whole) % whole) - Math.PI;
  }
  const hue = chroma1 === 0 ? hue2 : hue1 + turn / 2;
  const weight =
    1 -
    0.17 * Math.cos(hue - radians(30)) +
    0.24 * Math.cos(2 * hue) +
    0.32 * Math.cos(3 * hue + radians(6)) -
    0.2 * Math.cos(4 * hue - radians(63));
  const mean = (chroma1 + chroma2) / 2;
  const meanSeventh = mean ** 7;
  const degrees = (((hue * 180) / Math.PI) % 360 + 360) % 360;
  const rotation =
    -Math.sin(radians(60 * Math.exp(-(((degrees - 275) / 25) ** 2)))) *
    2 * Math.sqrt(meanSeventh / (meanSeventh + MAX_SEVENTH));
  const byChroma = (chroma2 - chroma1) / (1 + 0.045 * mean);
  const byHue =
    (2 * Math.sqrt(chroma1 * chroma2) * Math.sin(turn / 2)) / (1 + 0.015 * mean * weight);
  return Math.sqrt(byChroma ** 2 + byHue ** 2 + rotation * byChroma * byHue);
}
