/** D1's Time Travel, which restores a database to any time in the last 30 days. */
import type { Platform } from './api.ts'

const path = (databaseId: string) => `/d1/database/${databaseId}/time_travel`

/** The bookmark of a database at a time (RFC 3339), or the current one. */
export async function bookmarkAt(platform: Platform, databaseId: string, timestamp?: string): Promise<string> {
  const query: Record<string, string> = timestamp ? { timestamp } : {}
  const call = { method: 'GET' as const, path: `${path(databaseId)}/bookmark`, query }
  return (await platform.call<{ bookmark: string }>(call)).bookmark
}

/** Restores a database to a bookmark, in place. Running queries are interrupted. Idempotent. */
export async function restoreTo(platform: Platform, databaseId: string, bookmark: string): Promise<void> {
  await platform.call({ method: 'POST', path: `${path(databaseId)}/restore`, query: { bookmark } })
}
