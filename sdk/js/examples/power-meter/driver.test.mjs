// The driver on the bench, fed with recorded transcripts: every chunking gives the same samples, every swap gives each sample once, the
// conversation with the meter goes as those of the drivers in Rust and Python do, and so do slice and snapshot.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { Bench } from './autobench-sdk/bench.js'
import { PowerMeter } from './driver.js'
import { random } from './random.mjs'

const bytes = (text) => Buffer.from(text, 'latin1')

const IDENTIFY = '\x18#V,R,0;'
const ASK = '#L,W,3,E,_,1;'
const ASK_AGAIN = '#L,W,3,E,0,1;'
const VERSION = '#v,-,8,1,65206,5,2,3,14,200612211910,0;\r\n'
const ROW = '#d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n'

// Real records with everything that meters and lines were seen to do to them.
const TRANSCRIPT = bytes(
  'EED05F01 $Revision: 4.41 $ 200612212301 60Hz 120V\r\n' +
    '#d,-,18,0,1203,0,79,0,34,2,0,1203,0,0,1200,0,100,0,0,600,0;\r\n' +
    '#d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n' +
    '\0\0#d,-,18,97\x002,2277,433,5,0,70035,5602,973,2280,435,972,2274,432,95,0,0,500,1020\0;\0\r\n' +
    '#d,-,18,124,1191,97,0,_,_,_,124,_,_,_,_,_,100,_,_,_,_;#d,-,18,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n' +
    '-,18,611,1186,546,46,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n' +
    ',-,18,612,1186,547,47,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n' +
    'd,-,18,613,1186,548,48,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n' +
    '#d,-,18,614,1186,54#d,-,18,615,1186,549,49,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n' +
    '4,1186,549,50,_,_,_,610,_,_,_,_,_,94,_,_,_,_;\r\n' +
    '#s,-,3,_,1,1;\r\n~~\xff,,;;#;#x;\r\n' +
    '#d,-,16,616,1186,550,51,_,_,_,610,_,_,_,_,_,93,_,_;\r\n' +
    '#d,-,18,99999,1186,550,51,_,_,_,610,_,_,_,_,_,93,_,_,_,_;\r\n' +
    '#c,-,18,1,1,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0;\r\n' +
    '#d,-,18,617,1186,551,52,0,0,0,617,1186,551,0,1186,0,94,0,0,500,654;\r\n',
)
const WATTS = [0, 96.5, 97.2, 12.4, 61, 61.1, 61.2, 61.3, 61.5, 61.6, 61.7]

const CASES = process.env.AUTOBENCH_LONG ? 2000 : 60
/** What the other drivers write after the same minute; their tests read the same file. */
const SNAPSHOT = readFileSync(new URL('../../../../plugins/power-meter/tests/snapshot.json', import.meta.url))

function streaming() {
  const bench = new Bench(PowerMeter)
  bench.feed('main', VERSION)
  bench.feed('main', ROW)
  bench.settle()
  bench.written('main')
  assert.equal(bench.slice.phase, 'streaming')
  return bench
}

/** What the transcript has to come to, however it was fed. */
function check(bench, what) {
  bench.settle()
  assert.deepEqual(bench.samples('watts'), WATTS, what)
  assert.equal(bench.samples('energy').length, WATTS.length)
  assert.deepEqual(bench.samples('frequency'), [60, 50, 50, 50])
  assert.deepEqual(bench.samples('apparentPower'), [0, 96.5, 102, 65.4])
  const { totalSamples, badRows, bytesReceived } = bench.slice.stats
  assert.deepEqual([totalSamples, badRows, bytesReceived], [WATTS.length, 3, TRANSCRIPT.length], what)
  assert.equal(bench.slice.lastSample.watts, 61.7)
}

test('byte by byte gives the same samples', () => {
  const bench = new Bench(PowerMeter)
  for (const byte of TRANSCRIPT) bench.feed('main', Uint8Array.of(byte))
  check(bench)
})

test('every split with or without a swap gives every sample once', () => {
  for (let border = 0; border <= TRANSCRIPT.length; border += 1) {
    const bench = new Bench(PowerMeter)
    bench.feed('main', TRANSCRIPT.subarray(0, border))
    if (border % 2 === 1) bench.swap()
    bench.feed('main', TRANSCRIPT.subarray(border))
    check(bench, String(border))
  }
})

test('nothing between the bytes changes what they say', () => {
  const source = random()
  for (let number = 0; number < CASES; number += 1) {
    const bench = new Bench(PowerMeter)
    let checkpoint
    for (let at = 0; at < TRANSCRIPT.length; ) {
      const end = at + source.below(89) + 1
      bench.feed('main', TRANSCRIPT.subarray(at, end))
      at = end
      bench.advanceMs(source.below(120))
      const step = source.below(6)
      if (step === 0) checkpoint = bench.checkpoint()
      else if (step === 1) bench.swap()
      else if (step === 2 && checkpoint) bench.restart(checkpoint)
    }
    check(bench, String(number))
  }
})

test('garbage never stops it', () => {
  const source = random()
  for (let number = 0; number < CASES; number += 1) {
    const bench = streaming()
    bench.feed('main', Uint8Array.from({ length: source.below(2000) }, () => source.below(256)))
    bench.feed('main', ROW)
    assert.equal(bench.samples('watts').at(-1), 96.5)
  }
})

test('the snapshot is that of the driver in Rust', () => {
  const { snapshot } = streaming().checkpoint()
  assert.deepEqual(JSON.parse(new TextDecoder().decode(snapshot.data)), JSON.parse(SNAPSHOT))
  assert.equal(snapshot.schemaVersion, 1)
})

test("it goes on from the Rust driver's snapshot", () => {
  const bench = streaming()
  const { snapshot, leases } = bench.checkpoint()
  bench.swap({ snapshot: { ...snapshot, data: SNAPSHOT }, leases })
  bench.advanceMs(1000)
  assert.equal(bench.written('main'), '')
  bench.feed('main', ROW)
  assert.equal(bench.slice.stats.totalSamples, 2)
  const data = bytes('{"driver":{"stage":"away"},"slice":{}}')
  assert.throws(() => bench.swap({ snapshot: { ...snapshot, data }, leases }), /its memory has another form/)
})

test('the slice has the form that the mirror knows', () => {
  const bench = new Bench(PowerMeter)
  bench.advanceMs(100)
  bench.feed('main', VERSION)
  bench.advanceMs(400)
  bench.feed('main', ROW)
  const bytesReceived = VERSION.length + ROW.length
  assert.deepEqual(bench.slice, {
    phase: 'streaming',
    stats: { totalSamples: 1, badRows: 0, bytesReceived, lastSampleAt: 1_767_225_600_500, lastErrorAt: null },
    lastSample: { ts: '2026-01-01T00:00:00.500Z', watts: 96.5, volts: 120.4, amps: 0.792, frequencyHz: 50, powerFactor: 1, energyWh: 0.1 },
  })
  assert.deepEqual(bench.phases, ['connecting', 'connecting', 'streaming'])
})

test('a row costs only the fields that changed', () => {
  const bench = streaming()
  bench.advanceMs(1000)
  bench.feed('main', ROW)
  const paths = bench.lastOperations.map(({ val }) => val.path.val)
  assert.deepEqual(paths, ['/stats/totalSamples', '/stats/bytesReceived', '/stats/lastSampleAt', '/lastSample/ts'])
})

test('identification asks three times and then waits', () => {
  const bench = new Bench(PowerMeter)
  for (let question = 0; question < 3; question += 1) {
    assert.equal(bench.written('main'), IDENTIFY)
    bench.advanceMs(1999)
    assert.equal(bench.written('main'), '')
    bench.advanceMs(1)
  }
  assert.equal(bench.slice.phase, 'error')
  assert.match(bench.slice.message, /does not answer/)
  bench.advanceMs(600_000)
  assert.equal(bench.logs.filter(([level]) => level === 'warn').length, 1)
  bench.written('main')
  bench.feed('main', VERSION)
  assert.equal(bench.written('main'), ASK)
  assert.ok(!('message' in bench.slice))
})

test('a meter that sends no rows is asked in the other form and then identified again', () => {
  const bench = new Bench(PowerMeter)
  bench.feed('main', VERSION)
  bench.written('main')
  bench.advanceMs(3000)
  assert.equal(bench.written('main'), ASK_AGAIN)
  bench.advanceMs(3000)
  assert.equal(bench.written('main'), IDENTIFY)
})

test('a silent meter is asked again and then identified again', () => {
  const bench = streaming()
  bench.advanceMs(2950)
  assert.equal(bench.written('main'), ASK)
  assert.equal(bench.slice.message, 'no row for 3 s; asked for them again')
  bench.feed('main', ROW)
  assert.ok(!('message' in bench.slice))
  bench.advanceMs(6000)
  assert.equal(bench.written('main'), ASK + IDENTIFY)
  assert.equal(bench.slice.phase, 'connecting')
})

test('nothing is sent after a swap or a restart from a checkpoint', () => {
  const bench = streaming()
  bench.swap()
  bench.advanceMs(1000)
  const checkpoint = bench.checkpoint()
  bench.feed('main', ROW)
  bench.restart(checkpoint)
  bench.advanceMs(2900)
  assert.equal(bench.written('main'), '')
  assert.equal(bench.slice.stats.totalSamples, 2)
  // The watchdog went with it.
  bench.advanceMs(200)
  assert.equal(bench.written('main'), ASK)
})

test('a meter that comes back is identified again and half rows are not joined', () => {
  const bench = streaming()
  bench.feed('main', ROW.slice(0, 30))
  bench.lose('main', 'unplugged')
  assert.deepEqual([bench.slice.phase, bench.slice.message], ['disconnected', 'the line is away: unplugged'])
  bench.advanceMs(60_000)
  assert.equal(bench.written('main'), '')
  bench.attach('main')
  assert.equal(bench.written('main'), IDENTIFY)
  for (const text of [ROW.slice(30), VERSION, ROW]) bench.feed('main', text)
  assert.equal(bench.samples('watts').length, 2)
})

test('an overrun costs the row it falls into and no other', () => {
  const bench = streaming()
  bench.feed('main', ROW.slice(0, 30))
  bench.overrun('main', 500)
  bench.feed('main', ',0,0,500,965;\r\n')
  bench.feed('main', ROW)
  bench.settle()
  const { totalSamples, bytesReceived } = bench.slice.stats
  assert.deepEqual([totalSamples, bytesReceived], [2, VERSION.length + 2 * ROW.length + 30 + 15])
})

test('a new interval is asked for at once', () => {
  const bench = streaming()
  bench.changeSettings({ 'interval-s': 1 })
  assert.equal(bench.written('main'), '')
  bench.changeSettings({ 'interval-s': 5 })
  assert.equal(bench.written('main'), '#L,W,3,E,_,5;')
  bench.stop('shutdown')
  assert.equal(bench.written('main'), '#L,W,3,I,_,5;')
  assert.throws(() => new Bench(PowerMeter, { 'interval-s': 0 }), /from 1 to 3600/)
})

test('a driver may start before its meter is there', () => {
  const bench = new Bench(PowerMeter, {}, ['main'])
  assert.deepEqual([bench.slice.phase, bench.written('main')], ['disconnected', ''])
  bench.attach('main')
  assert.equal(bench.written('main'), IDENTIFY)
})
