/** The JSON object of an answer, whose fields the reader has yet to check; empty if the body is anything else. */
export function parsed<T extends object>(body: string): Partial<T> {
  try {
    return (JSON.parse(body) ?? {}) as Partial<T>
  } catch {
    return {}
  }
}
