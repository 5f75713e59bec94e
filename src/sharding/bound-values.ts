import { misuse } from './answers.ts'

/**
 * Copies the values as they are now. D1 copies buffers when they are bound, but a routed statement may be sent much
 * later, or again. Values that D1 refuses are refused at once, with D1's message. Numbers, texts and booleans are
 * immutable and not copied.
 */
export function copyBound(values: unknown[]): unknown[] {
  for (let index = 0; index < values.length; index++) {
    const value = values[index]
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' || value === null) continue
    values[index] = copyOf(value)
  }
  return values
}

function copyOf(value: unknown): unknown {
  if (Array.isArray(value)) {
    const bytes: unknown[] = Array.from(value)
    if (bytes.every((byte) => typeof byte === 'number' && byte >= 0 && byte < 256)) return bytes
  } else if (value instanceof ArrayBuffer) {
    return value.slice(0)
  } else if (ArrayBuffer.isView(value)) {
    const items: unknown[] = Array.from(value as unknown as ArrayLike<unknown>)
    // D1 also accepts other numbers, but can't put them into JSON.
    if (items.every(Number.isFinite)) return sameView(value)
  }
  throw misuse(`Type '${typeof value}' not supported for value '${value}'`, 'D1_TYPE_ERROR')
}

/** A copy of the same type, so that D1 treats it like the original. A `Buffer`'s own `slice` does not copy. */
function sameView(view: ArrayBufferView): ArrayBufferView {
  if (view instanceof DataView) return new DataView(new ArrayBuffer(0))
  return Uint8Array.prototype.slice.call(view)
}
