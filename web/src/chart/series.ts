import type { Sample } from '../wire/types'

/** What the page keeps of a series; the daemon's own ring is as long. */
export const SERIES_SPAN_MS = 10 * 60_000
/** 1 MiB of samples. Above it the oldest quarter goes. */
export const SERIES_CAPACITY = 65_536

const FIRST_CAPACITY = 1_024

/**
 * One endpoint's samples in ascending time, in two growing columns. Bounded twice: samples older than `SERIES_SPAN_MS` before the newest
 * go, and beyond `SERIES_CAPACITY` the oldest go.
 */
export class Series {
  private times = new Float64Array(FIRST_CAPACITY)
  private numbers = new Float64Array(FIRST_CAPACITY)
  private start = 0
  private end = 0

  constructor(
    readonly endpointId: number,
    readonly endpoint: string,
    readonly unit: string,
  ) {}

  get length(): number {
    return this.end - this.start
  }

  /** Ascending milliseconds since 1970; valid until the next `add`. */
  get timestamps(): Float64Array {
    return this.times.subarray(this.start, this.end)
  }

  /** The values beside `timestamps`. */
  get values(): Float64Array {
    return this.numbers.subarray(this.start, this.end)
  }

  /** Adds a batch. A timestamp that is already there is a repetition, as after a new subscription, and changes nothing. */
  add(samples: readonly Sample[]): void {
    const newest = samples.at(-1)
    if (newest === undefined) return
    // The daemon's clock was set back by more than the page remembers: what came before lies on no common axis.
    if (this.length > 0 && newest[0] < this.last() - SERIES_SPAN_MS) this.start = this.end = 0
    for (const [timestampMs, value] of samples) this.insert(timestampMs, value)
    const oldest = this.last() - SERIES_SPAN_MS
    while (this.start < this.end && this.at(this.start) < oldest) this.start += 1
  }

  /** Index of the first sample at or after `timestampMs`, counted as in `timestamps`. */
  indexFrom(timestampMs: number): number {
    let low = this.start
    let high = this.end
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.at(middle) < timestampMs) low = middle + 1
      else high = middle
    }
    return low - this.start
  }

  private insert(timestampMs: number, value: number): void {
    if (this.length === 0 || timestampMs > this.last()) {
      this.reserve()
      this.times[this.end] = timestampMs
      this.numbers[this.end] = value
      this.end += 1
      return
    }
    if (timestampMs < this.last() - SERIES_SPAN_MS) return
    const offset = this.indexFrom(timestampMs)
    if (this.at(this.start + offset) === timestampMs) return
    this.reserve()
    const index = this.start + offset
    this.times.copyWithin(index + 1, index, this.end)
    this.numbers.copyWithin(index + 1, index, this.end)
    this.times[index] = timestampMs
    this.numbers[index] = value
    this.end += 1
  }

  /** Makes room for one sample at the end. */
  private reserve(): void {
    if (this.end < this.times.length) return
    if (this.length > SERIES_CAPACITY - (SERIES_CAPACITY >> 2)) this.start += SERIES_CAPACITY >> 2
    const room = this.length > this.times.length / 2 ? Math.min(SERIES_CAPACITY, this.times.length * 2) : this.times.length
    this.times = moved(this.times, this.start, this.end, room)
    this.numbers = moved(this.numbers, this.start, this.end, room)
    this.end -= this.start
    this.start = 0
  }

  private last(): number {
    return this.at(this.end - 1)
  }

  private at(index: number): number {
    return this.times[index] ?? Number.NaN
  }
}

function moved(column: Float64Array<ArrayBuffer>, start: number, end: number, room: number): Float64Array<ArrayBuffer> {
  const target = room === column.length ? column : new Float64Array(room)
  target.set(column.subarray(start, end))
  return target
}
