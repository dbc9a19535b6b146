/** A y range with round ends around the data. It starts at zero when the data comes near it, and is never so narrow that noise fills it. */
export function niceRange(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1]
  if (low === 0 && high === 0) return [0, 1]
  const middle = (low + high) / 2
  const span = Math.max(high - low, Math.abs(middle) * 0.04, 1e-3)
  const least = Math.min(low, middle - span / 2)
  // What cannot be negative is not drawn as if it could.
  const bottom = low >= 0 && (low < 0.4 * high || least < 0) ? 0 : least
  const top = Math.max(high, middle + span / 2)
  const step = niceStep((top - bottom) / 4)
  return [Math.floor(bottom / step + 1e-9) * step, Math.ceil(top / step - 1e-9) * step]
}

/** 1, 2 or 5 times a power of ten, not below `rough`. */
export function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough))
  const share = rough / power
  return (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10) * power
}
