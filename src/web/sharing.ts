/** How long an answer that visitors share may be kept, and what it depends on. */
export interface Sharing {
  maxAgeSeconds: number
  /** After that: how long the shared cache may serve it while it refreshes it. */
  staleSeconds: number
  /** After that: how long the shared cache may serve it while refreshing fails. */
  errorSeconds: number
  /** The query parameters that the page reads. The shared cache ignores all others. */
  query: readonly string[]
  /** A file that never changes. It is the same for every client, signed in or not, and browsers keep it for a year. */
  isFile?: true
}

/** The entrypoint behind the shared cache, as the default entrypoint sees it. */
export interface PublicPages {
  fetch(request: Request): Promise<Response>
}
