import { misuse } from './answers.ts'

/**
 * The values as they are now: D1 copies buffers when they are bound, and a statement may be sent much later, or again. What
 * D1 refuses is refused at once, in its words. Numbers, texts and booleans can't change, and stay as they are.
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
    // D1 takes others, too, and can't put them into JSON.
    if (items.every(Number.isFinite)) return sameView(value)
  }
  throw misuse(`Type '${typeof value}' not supported for value '${value}'`, 'D1_TYPE_ERROR')
}

/** Of the same type, so that D1 makes of it what it makes of the original. A `Buffer`'s own `slice` is no copy. */
function sameView(view: ArrayBufferView): ArrayBufferView {
  if (view instanceof DataView) return new DataView(new ArrayBuffer(0))
  return Uint8Array.prototype.slice.call(view)
}
