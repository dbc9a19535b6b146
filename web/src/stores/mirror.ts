import { acceptHMRUpdate, defineStore } from 'pinia'
import { computed, shallowRef } from 'vue'
import type { ComputedRef } from 'vue'
import { applyPatch as applyOperations } from '../wire/patch'
import { isObject } from '../wire/decode'
import type { Json, JsonObject, PatchFrame, SnapshotFrame } from '../wire/types'

export type ApplyResult = { readonly ok: true; readonly document: JsonObject } | { readonly ok: false; readonly reason: string }

/**
 * The browser's copy of the daemon's state. It is replaced by snapshots and changed by patches, and by nothing else. Members that a
 * patch does not touch stay the same objects, so only the panes that show a changed member are drawn again.
 */
export const useMirror = defineStore('mirror', () => {
  const document = shallowRef<JsonObject | null>(null)
  const bootId = shallowRef<string | null>(null)
  const version = computed(() => {
    const value = document.value?.['version']
    return typeof value === 'number' ? value : null
  })

  function replaceSnapshot(frame: SnapshotFrame): JsonObject {
    bootId.value = frame.bootId
    document.value = frame.data
    return frame.data
  }

  /** Applies the whole patch or, when it does not fit, nothing. */
  function applyPatch(frame: PatchFrame): ApplyResult {
    const before = document.value
    if (before === null) return { ok: false, reason: 'there is no document yet' }
    if (before['version'] !== frame.fromVersion) {
      return { ok: false, reason: `patch from version ${frame.fromVersion} but the mirror is at ${version.value}` }
    }
    const result = applyOperations(before, frame.patch)
    if (!result.ok) return { ok: false, reason: `operation ${result.index} of a patch does not fit: ${result.reason}` }
    if (!isObject(result.document) || result.document['version'] !== frame.toVersion) {
      return { ok: false, reason: `a patch did not lead to version ${frame.toVersion}` }
    }
    document.value = result.document
    return { ok: true, document: result.document }
  }

  /** One top-level member; wakes its readers only when a patch touched it. */
  function member(name: () => string | null): ComputedRef<Json | undefined> {
    return computed(() => {
      const key = name()
      const root = document.value
      return key !== null && root !== null && Object.hasOwn(root, key) ? root[key] : undefined
    })
  }

  return { document, bootId, version, replaceSnapshot, applyPatch, member }
})

if (import.meta.hot) import.meta.hot.accept(acceptHMRUpdate(useMirror, import.meta.hot))
