import type { Child } from 'hono/jsx'

/** The signed-in user of a page. Nouns add the fields that their navigation shows, by declaration merging. */
export interface Viewer {
  id: string
}

/** An entry of the main navigation. Entries are sorted by `order`. */
interface NavigationEntry {
  order: number
  content: Child
}

/** A noun's entries for a viewer at a path. `viewer` is null if the request is not signed in. */
export type Navigation = (viewer: Viewer | null, path: string) => readonly NavigationEntry[]

/** Data that all pages share. */
export interface Site {
  navigation: readonly Navigation[]
  /** The start page of a signed-in user. */
  home: string
}
