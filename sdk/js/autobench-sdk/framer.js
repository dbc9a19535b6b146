// Lines out of chunks, wherever the chunk borders fall. A framer that is new at the first byte it holds comes to the same results, so a snapshot
// leaves those bytes to the successor: `new Snapshot(memory, { main: framer.held })`.

const LF = 10
const CR = 13
const decoder = new TextDecoder()

/** Lines that end with LF or CR LF, of at most `limitBytes`, as texts. A longer one is given cut, and the rest of it is left out. */
export class LineFramer {
  #buffer = []
  #limit
  #skipping = false

  constructor(limitBytes) {
    this.#limit = Math.max(limitBytes, 1)
  }

  /** How many of the bytes that came last are held, waiting for the end of their line. */
  get held() {
    return this.#buffer.length
  }

  /** Takes a chunk and gives every line that ends in it. */
  feed(chunk) {
    const lines = []
    for (const byte of chunk) {
      if (byte === LF) {
        if (!this.#skipping) lines.push(this.#line())
        this.#skipping = false
      } else if (!this.#skipping) {
        // One more than the limit, because a CR at the end is not counted.
        if (this.#buffer.length > this.#limit || (this.#buffer.length === this.#limit && byte !== CR)) {
          lines.push(this.#line())
          this.#skipping = true
        } else {
          this.#buffer.push(byte)
        }
      }
    }
    return lines
  }

  #line() {
    if (this.#buffer.at(-1) === CR) this.#buffer.pop()
    const line = decoder.decode(new Uint8Array(this.#buffer))
    this.#buffer = []
    return line
  }

  /** Forgets a half line, because the rest of it will not come. */
  reset() {
    this.#buffer = []
    this.#skipping = false
  }
}
