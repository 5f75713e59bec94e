/** The JSON object of an answer; empty if the body is anything else. The caller must check the fields. */
export function parsed<T extends object>(body: string): Partial<T> {
  try {
    return (JSON.parse(body) ?? {}) as Partial<T>
  } catch {
    return {}
  }
}
