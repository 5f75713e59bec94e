import type { Child } from 'hono/jsx'

/** Whom a page is for. Nouns add the fields that their navigation shows, by declaration merging. */
export interface Viewer {
  id: string
}

/** An entry of the main navigation; entries are sorted by `order`. */
interface NavigationEntry {
  order: number
  content: Child
}

/** A noun's entries, for a viewer (null: nobody is signed in) at a path. */
export type Navigation = (viewer: Viewer | null, path: string) => readonly NavigationEntry[]

/** What all pages share. */
export interface Site {
  navigation: readonly Navigation[]
  /** The path to which a signed-in user comes back. */
  home: string
}
