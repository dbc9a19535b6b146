// Lines and packets out of chunks, wherever the chunk borders fall. A framer that is new at the first byte it holds comes to the same results, so a snapshot
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

// It takes every byte for one character, so places and lengths in a text are those of its bytes.
const single = new TextDecoder('latin1')

/**
 * Packets between a start and an end character, in a stream that may hold anything else too. `limitBytes` counts neither borders nor ignored
 * characters; `ignored` are left out wherever they stand. Texts have one character for each byte.
 */
export class PacketFramer {
  /** How many of the bytes that came last are held, start character and ignored ones included. */
  held = 0
  #start
  #end
  #ignored
  #limit
  #buffer = ''
  #started = false

  constructor(start, end, limitBytes, ignored = '') {
    this.#start = start
    this.#end = end
    this.#ignored = new RegExp(`[${ignored.replace(/[\\\]^-]/g, '\\$&')}]`, 'g')
    this.#limit = Math.max(limitBytes, 1)
  }

  /**
   * Takes a chunk and gives every piece that ends in it, as `[kind, text]`, without borders and ignored characters. Empty pieces are not given,
   * except empty packets. The kinds:
   *
   * - `packet`: from a start to an end;
   * - `endless`: from a start to another one, so that the end is lost;
   * - `headless`: to an end, without a start;
   * - `junk`: between packets, with neither;
   * - `too-long`: as many characters as the limit, without an end. What follows, up to the next border, is a piece of its own.
   */
  feed(chunk) {
    const text = single.decode(chunk)
    const pieces = []
    let at = 0
    let start = text.indexOf(this.#start)
    let end = text.indexOf(this.#end)
    while (start >= 0 || end >= 0) {
      const isStart = start >= 0 && (end < 0 || start < end)
      const border = isStart ? start : end
      if (border > at) this.#take(text.slice(at, border), pieces)
      at = border + 1
      if (isStart) {
        if (this.#buffer !== '') pieces.push([this.#started ? 'endless' : 'junk', this.#buffer])
        this.reset()
        this.#started = true
        this.held = 1
        start = text.indexOf(this.#start, at)
      } else {
        if (this.#started) pieces.push(['packet', this.#buffer])
        else if (this.#buffer !== '') pieces.push(['headless', this.#buffer])
        this.reset()
        end = text.indexOf(this.#end, at)
      }
    }
    if (at < text.length) this.#take(text.slice(at), pieces)
    return pieces
  }

  #take(run, pieces) {
    const text = run.replace(this.#ignored, '')
    if (this.#buffer.length + text.length > this.#limit) {
      this.#overflow(run, pieces)
      return
    }
    // Between two pieces there is nothing that an ignored character would have to wait with.
    if (this.held > 0) this.held += run.length
    else if (text !== '') this.held = run.length - run.indexOf(text[0])
    this.#buffer += text
  }

  #overflow(run, pieces) {
    for (const character of run) {
      if (character.replace(this.#ignored, '') === '') {
        if (this.held > 0) this.held += 1
        continue
      }
      if (this.#buffer.length === this.#limit) {
        pieces.push(['too-long', this.#buffer])
        this.reset()
      }
      this.#buffer += character
      this.held += 1
    }
  }

  /** Forgets a half packet, because the rest of it will not come. */
  reset() {
    this.#buffer = ''
    this.#started = false
    this.held = 0
  }
}
