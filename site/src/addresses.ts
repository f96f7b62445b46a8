// The files that the script of the page loads.

interface FileAddress {
  url: string;
  bytes: number;
}

/** Return their addresses, which `photochrom site` writes into the page. */
export function readAddresses(): Record<"worker" | "runtime" | "model", FileAddress> {
  return JSON.parse(document.body.dataset.files!);
}
