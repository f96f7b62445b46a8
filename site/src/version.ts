// The version of photochrom that the site is a part of; the build defines it.

declare const PHOTOCHROM_VERSION: string;

export const VERSION: string = PHOTOCHROM_VERSION;
