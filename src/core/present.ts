/** Asserts that a value is present; only a bug could omit it. `what` names it, for example `the shard of a run`. */
export function present<T>(value: T, what: string): NonNullable<T> {
  if (value === undefined || value === null) throw new Error(`Expected ${what}, and there is none.`)
  return value
}
