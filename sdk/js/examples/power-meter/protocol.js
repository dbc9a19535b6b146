// The meter's packets: texts to values and back. Knows neither SDK nor host.
//
// A packet is `#C,S,N,a1,...,aN;`. A data row is `#d,-,18,` with eighteen integers, or `#d,-,16,` from the older serial model. Rows carry no
// checksum; what guards them is the declared count, the form of every field, and the ranges that the maker gives.

/** Starts and ends a packet. */
export const START = '#'
export const END = ';'
/** What the meter, or a bad line, strews in and nothing is lost with, between packets and inside them. */
export const IGNORED = '\0\r\n\t'
/** No packet that this driver reads is half as long; the longest that the meter knows, its calibration, is just under it. */
export const LIMIT_BYTES = 512
/** Stops whatever the meter is sending. */
export const ABORT = '\x18'
/** Asks for the version record, which every model answers within two seconds. */
export const IDENTIFY = '#V,R,0;'

const MODELS = ['Standard', 'PRO', 'ES', 'Ethernet', 'blind']
const LARGEST = 2 ** 32 - 1
/** What a place of a row says, what it is divided by, and what it may be; the other places are not read. */
const QUANTITIES = {
  0: { name: 'watts', unit: 10, least: 0, most: 50_000 },
  1: { name: 'volts', unit: 10, least: 900, most: 2800 },
  2: { name: 'amps', unit: 1000, least: 0, most: 20_000 },
  3: { name: 'energyWh', unit: 10, least: 0, most: LARGEST },
  13: { name: 'powerFactor', unit: 100, least: 0, most: 100 },
  16: { name: 'frequencyHz', unit: 10, least: 0, most: LARGEST },
  17: { name: 'apparentVa', unit: 10, least: 0, most: LARGEST },
}
/** The ends of a row's head, by the count of its values. */
const HEADS = [
  [18, '-,18,'],
  [16, '-,16,'],
]

/** Lets the meter send a row every `intervalS` seconds until told otherwise. Most models take `_` as the reserved argument, some only `0`. */
export const logExternally = (intervalS, reserved) => `#L,W,3,E,${reserved},${intervalS};`

/** Lets the meter log into its own memory again, and so stop sending. */
export const logInternally = (intervalS) => `#L,W,3,I,_,${intervalS};`

// What a piece of the stream turned out to be, besides:
// - `row`, a whole data row, with its `reading`, where a field that is not logged, not sent or empty is not there, never zero, and with
//   `damagedBefore`, whether the piece also holds the remains of another row;
// - `version`, the version record, with the model and the versions of hardware and firmware.

/** Another packet in good form. */
const OTHER = { kind: 'other' }
/** Chatter too short to be a row: a banner, noise, the end of something. */
const JUNK = { kind: 'junk' }
/** Something that should have been a row. */
const BAD = { kind: 'bad' }

/** Reads what stands between `#` and `;`. */
export const readPacket = (text) => readWhole(text) ?? readHeadless(text)

/** Reads what ends with `;` and has no `#`. */
export const readHeadless = (text) => readRemainder(text) ?? readEndless(text)

/** Reads what has no `;`. Nothing of it can be trusted: its last field may have lost digits. */
export const readEndless = (text) => (isShort(text) ? JUNK : BAD)

/** A packet in good form: a letter, `-`, a count, and that many arguments. */
function readWhole(text) {
  const fields = text.split(',')
  const letter = fields[0]
  const values = fields.slice(3)
  if (!/^[a-z]$/.test(letter) || fields[1] !== '-' || number(fields[2]) !== values.length) return undefined
  if (letter === 'd') return rowOf(values, false)
  return letter === 'v' ? readVersion(values) : OTHER
}

/**
 * A row that has lost its head. The places of its values are counted from the end, and that none of them is cut shows in what is left of the head:
 * the count, or at least the comma behind it. A piece that ends in `-,18,` and eighteen values is a row whatever stands before it; otherwise all
 * that stands before the values has to be the end of `-,18,`. Eighteen values alone are no row: the first may have lost digits.
 */
function readRemainder(text) {
  const fields = text.split(',')
  for (const [count, head] of HEADS) {
    if (fields.length <= count) continue
    const before = `${fields.slice(0, -count).join(',')},`
    let damagedBefore = false
    if (before.endsWith(head)) {
      const rest = before.slice(0, -head.length)
      damagedBefore = !'d,'.endsWith(rest) && !isShort(rest)
    } else if (!head.endsWith(before)) continue
    const row = rowOf(fields.slice(-count), damagedBefore)
    if (row) return row
  }
  return undefined
}

/** Fewer than eight characters or at most three fields: not worth a count. */
const isShort = (text) => text.length < 8 || text.split(',').length <= 3

/** A row of these fields, from the first value on, if they are such. */
function rowOf(fields, damagedBefore) {
  if (fields.length !== 16 && fields.length !== 18) return undefined
  // Once for all fields, because an expression is slow in a component. Of such texts `Number` takes only digits.
  if (/[^0-9_,]/.test(fields.join())) return undefined
  const reading = {}
  for (let place = 0; place < fields.length; place += 1) {
    const field = fields[place]
    if (field === '_' || field === '') continue
    const value = Number(field)
    if (!(value <= LARGEST)) return undefined
    const quantity = QUANTITIES[place]
    if (quantity === undefined) continue
    if (value < quantity.least || value > quantity.most) return undefined
    reading[quantity.name] = value / quantity.unit
  }
  return { kind: 'row', reading, damagedBefore }
}

/** Model, memory, hardware and firmware versions, time stamp, checksum. */
function readVersion(fields) {
  const numbers = fields.slice(0, 6).map(number)
  if (numbers.length < 6 || numbers.includes(undefined)) return undefined
  const [model, , hardware, step, firmware, patch] = numbers
  return { kind: 'version', model: MODELS[model] ?? 'of an unknown model', hardware: `${hardware}.${step}`, firmware: `${firmware}.${patch}` }
}

/** Digits and nothing else, and not more than fit into 32 bits. */
function number(digits) {
  if (!/^[0-9]+$/.test(digits)) return undefined
  const value = Number(digits)
  return value <= LARGEST ? value : undefined
}
