// The mirror: changed by snapshots and patches only, and only what changed wakes its readers.

import { createPinia, setActivePinia } from 'pinia'
import { beforeEach, describe, expect, it } from 'vitest'
import { effectScope, nextTick, watch } from 'vue'
import { useMirror } from '../src/stores/mirror'
import type { PatchFrame, PatchOperation } from '../src/wire/types'
import { stateJson } from './support/state'

beforeEach(() => setActivePinia(createPinia()))

function patch(fromVersion: number, ...operations: PatchOperation[]): PatchFrame {
  const toVersion = fromVersion + 1
  return { type: 'state.patch', fromVersion, toVersion, patch: [...operations, { op: 'replace', path: '/version', value: toVersion }] }
}

function filled() {
  const mirror = useMirror()
  mirror.replaceSnapshot({ type: 'state.snapshot', bootId: 'b1', stateVersion: 12, data: stateJson(12) })
  return mirror
}

describe('the mirror', () => {
  it('is empty until the first snapshot, and takes no patch before it', () => {
    const mirror = useMirror()
    expect(mirror.document).toBeNull()
    expect(mirror.version).toBeNull()
    expect(mirror.applyPatch(patch(1))).toMatchObject({ ok: false })
    expect(mirror.document).toBeNull()
  })

  it('holds the snapshot as it came and then each patch', () => {
    const mirror = filled()
    expect(mirror.bootId).toBe('b1')
    expect(mirror.applyPatch(patch(12, { op: 'replace', path: '/powerMeter/lastSample/watts', value: 97 })).ok).toBe(true)
    expect(mirror.version).toBe(13)
    expect(mirror.document).toMatchObject({ powerMeter: { lastSample: { watts: 97 } } })
  })

  it('keeps untouched members identical by reference, at every depth', () => {
    const mirror = filled()
    const before = mirror.document as Record<string, Record<string, unknown>>
    mirror.applyPatch(patch(12, { op: 'replace', path: '/powerMeter/lastSample/watts', value: 97 }))
    const after = mirror.document as Record<string, Record<string, unknown>>
    expect(after).not.toBe(before)
    expect(after['powerMeter']?.['lastSample']).not.toBe(before['powerMeter']?.['lastSample'])
    expect(after['powerMeter']?.['stats']).toBe(before['powerMeter']?.['stats'])
    for (const member of ['meta', 'layout', 'serverConfig', 'plugins', 'devices', 'logs']) expect(after[member]).toBe(before[member])
  })

  it('refuses what does not fit, as a whole, and stays as it was', () => {
    const mirror = filled()
    const before = mirror.document
    const fine: PatchOperation = { op: 'replace', path: '/message', value: 'x' }
    expect(mirror.applyPatch(patch(11, fine))).toMatchObject({ ok: false })
    expect(mirror.applyPatch(patch(13, fine))).toMatchObject({ ok: false })
    expect(mirror.applyPatch(patch(12, fine, { op: 'remove', path: '/missing' }))).toMatchObject({ ok: false })
    expect(mirror.applyPatch({ ...patch(12, fine), toVersion: 99 })).toMatchObject({ ok: false, reason: 'a patch did not lead to version 99' })
    expect(mirror.document).toBe(before)
  })

  it('wakes the readers of a member only when a patch touched it', async () => {
    const mirror = filled()
    const woken: string[] = []
    const scope = effectScope()
    scope.run(() => {
      for (const name of ['powerMeter', 'devices', 'layout']) watch(mirror.member(() => name), () => woken.push(name))
    })
    mirror.applyPatch(patch(12, { op: 'replace', path: '/powerMeter/phase', value: 'error' }))
    await nextTick()
    mirror.applyPatch(patch(13, { op: 'add', path: '/devices/meter/staleSince', value: '2026-01-01T00:00:00Z' }))
    await nextTick()
    scope.stop()
    expect(woken).toEqual(['powerMeter', 'devices'])
  })

  it('knows no member that the document only inherits', () => {
    const mirror = filled()
    expect(mirror.member(() => 'toString').value).toBeUndefined()
    expect(mirror.member(() => null).value).toBeUndefined()
  })
})
