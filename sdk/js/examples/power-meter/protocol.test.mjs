// Rows are read, in part or not at all, as the meter and bad lines send them. The same laws as those of the drivers in Rust and Python.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { readEndless, readHeadless, readPacket } from './protocol.js'

// Real records.
const ROWS = [
  'd,-,18,0,1203,0,79,0,34,2,0,1203,0,0,1200,0,100,0,0,600,0',
  'd,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965',
  'd,-,18,972,2277,433,5,0,70035,5602,973,2280,435,972,2274,432,95,0,0,500,1020',
  'd,-,18,124,1191,97,0,_,_,_,124,_,_,_,_,_,100,_,_,_,_',
  'd,-,18,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_,_,_',
]
const HEAD = 'd,-,18,'.length

function row(text) {
  const { kind, reading, damagedBefore } = readPacket(text)
  assert.deepEqual([kind, damagedBefore], ['row', false], text)
  return reading
}

function worthless({ kind }, text) {
  assert.ok(kind === 'bad' || kind === 'junk', text)
}

test('real rows are read', () => {
  const all = { watts: 97.2, volts: 227.7, amps: 0.433, energyWh: 0.5, powerFactor: 0.95, frequencyHz: 50, apparentVa: 102 }
  assert.deepEqual(row(ROWS[2]), all)
  assert.equal(row(ROWS[0]).watts, 0)
  assert.deepEqual(row(ROWS[4]), { watts: 61, volts: 118.6, amps: 0.545, energyWh: 4.5, powerFactor: 0.94 })
})

test('a row survives the loss of any part of its head', () => {
  for (const text of ROWS) {
    for (let lost = 0; lost < HEAD; lost += 1) {
      assert.deepEqual(readHeadless(text.slice(lost)), { kind: 'row', reading: row(text), damagedBefore: false }, text.slice(lost))
    }
  }
})

test('a row that has lost a byte of its values or its tail is never read', () => {
  for (const text of ROWS) {
    for (let at = 0; at < text.length; at += 1) {
      worthless(readEndless(text.slice(0, at)), text)
      if (at >= HEAD) worthless(readHeadless(text.slice(at)), text.slice(at))
    }
  }
})

test('a row is found behind the remains of another', () => {
  for (let kept = 0; kept < ROWS[1].length; kept += 1) {
    for (let lost = 0; lost < 3; lost += 1) {
      const text = ROWS[1].slice(0, kept) + ROWS[2].slice(lost)
      assert.deepEqual(readPacket(text).reading, row(ROWS[2]), text)
    }
  }
})

test('a row joined to the values of another is not misread', () => {
  for (let kept = HEAD; kept < ROWS[1].length; kept += 1) {
    for (let lost = HEAD; lost < ROWS[2].length; lost += 1) {
      const text = ROWS[1].slice(0, kept) + ROWS[2].slice(lost)
      // The right count by chance: nothing in the row tells. Any other count does.
      if (text.split(',').length !== 21) worthless(readPacket(text), text)
    }
  }
})

test('values out of range are no row', () => {
  const withField = (place, value) => readPacket(ROWS[1].split(',').with(place, value).join(',')).kind
  const bad = [[3, '50001'], [4, '899'], [4, '2801'], [5, '20001'], [16, '101'], [6, '-1'], [6, '1.5'], [6, '4294967296']]
  for (const [place, value] of bad) assert.equal(withField(place, value), 'bad', `${place} ${value}`)
  const good = [[3, '50000'], [4, '900'], [4, '2800'], [5, '20000'], [16, '0'], [6, '4294967295']]
  for (const [place, value] of good) assert.equal(withField(place, value), 'row', `${place} ${value}`)
})

test('absent is not zero', () => {
  assert.deepEqual(row('d,-,18,_,,0,_,_,_,_,_,_,_,_,_,_,_,_,_,_,_'), { amps: 0 })
  const serial = row('d,-,16,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_')
  assert.deepEqual([serial.powerFactor, serial.frequencyHz], [0.94, undefined])
})

test('replies are told apart', () => {
  const version = { kind: 'version', model: 'PRO', hardware: '5.2', firmware: '3.14' }
  assert.deepEqual(readPacket('v,-,8,1,65206,5,2,3,14,200612211910,0'), version)
  assert.equal(readPacket('s,-,3,_,1,2').kind, 'other')
  assert.equal(readPacket('c,-,18,1,1,1,1,0,0,0,1,0,0,0,0,0,1,0,0,0,0').kind, 'other')
  for (const junk of ['', 'x', ',,', 's,-,2,1']) assert.equal(readPacket(junk).kind, 'junk', junk)
})
