/** D1's Time Travel: a database as it was at any moment of the last 30 days. */
import type { Platform } from './api.ts'

const path = (databaseId: string) => `/d1/database/${databaseId}/time_travel`

/** Where a database's history was at a moment (RFC 3339), or is now. */
export async function bookmarkAt(platform: Platform, databaseId: string, timestamp?: string): Promise<string> {
  const query: Record<string, string> = timestamp ? { timestamp } : {}
  const call = { method: 'GET' as const, path: `${path(databaseId)}/bookmark`, query }
  return (await platform.call<{ bookmark: string }>(call)).bookmark
}

/** Takes a database back to a bookmark, in place. What runs in it meanwhile is cut off. Repeated, it is the same again. */
export async function restoreTo(platform: Platform, databaseId: string, bookmark: string): Promise<void> {
  await platform.call({ method: 'POST', path: `${path(databaseId)}/restore`, query: { bookmark } })
}
