const monthNames = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** RFC 3339 → `23 Nov 2026`, in UTC. */
export function readableDay(time: string): string {
  const date = new Date(time)
  return `${date.getUTCDate()} ${monthNames[date.getUTCMonth()]} ${date.getUTCFullYear()}`
}

/** RFC 3339 → `23 Nov 2026, 14:05 UTC`. @public For nouns. */
export function readableTime(time: string): string {
  return `${readableDay(time)}, ${new Date(time).toISOString().slice(11, 16)} UTC`
}
