/** A value that only a bug could leave out. Throws with what was expected, for example `the shard of a run`. */
export function present<T>(value: T, what: string): NonNullable<T> {
  if (value === undefined || value === null) throw new Error(`Expected ${what}, and there is none.`)
  return value
}
