/** Careful looks into JSON that somebody else wrote: the kind that was asked for, or nothing. */

import { isObject } from './decode'
import type { Json, JsonObject } from './types'

export function memberOf(object: JsonObject | null, key: string): JsonObject | null {
  const value = object?.[key]
  return isObject(value) ? value : null
}

export function textOf(object: JsonObject | null, key: string): string | undefined {
  const value = object?.[key]
  return typeof value === 'string' ? value : undefined
}

export function numberOf(object: JsonObject | null, key: string): number | null {
  const value = object?.[key]
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

export function within(object: JsonObject | null, key: string, fallback: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, numberOf(object, key) ?? fallback))
}

export function listOf(object: JsonObject | null, key: string): readonly Json[] {
  const value = object?.[key]
  return Array.isArray(value) ? (value as readonly Json[]) : []
}

export function textsOf(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? (value as readonly Json[]).filter((item) => typeof item === 'string') : []
}
