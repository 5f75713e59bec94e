/** A fenced block. `info` is the text after the backticks, for example `sh not-run`. */
export interface FencedBlock {
  info: string
  text: string
}

const FENCE = /^([ ]*)(```+)([^\n`]*)\n(.*?)^\1\2[ ]*$/gms

export function fencedBlocks(page: string): FencedBlock[] {
  return [...page.matchAll(FENCE)].map(([, , , info = '', text = '']) => ({ info: info.trim(), text }))
}

/** The page without its fenced blocks. */
const proseOf = (page: string): string => page.replaceAll(FENCE, '')

/** The anchors of a page's headings, as GitHub creates them: a repeated heading gets a number. */
export function anchorsOf(page: string): Set<string> {
  const counts = new Map<string, number>()
  const headings = [...proseOf(page).matchAll(/^#{1,6} +(.+?)[ #]*$/gm)]
  return new Set(
    headings.map(([, heading = '']) => {
      const anchor = anchorOf(heading)
      const count = counts.get(anchor) ?? 0
      counts.set(anchor, count + 1)
      return count === 0 ? anchor : `${anchor}-${count}`
    }),
  )
}

function anchorOf(heading: string): string {
  const text = heading.replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
  return text.replaceAll(/[^\p{Letter}\p{Mark}\p{Number}_ -]/gu, '').replaceAll(' ', '-')
}

/** The links in a page's prose that name a file, an anchor or both. */
export function localLinks(page: string): { file: string; anchor: string }[] {
  return [...proseOf(page).matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].map(
    ([, file = '', anchor = '']) => ({ file, anchor }),
  )
}

/** The lines of a page's prose with more than `max` characters. Tables and link targets do not count. */
export function longLines(page: string, max: number): string[] {
  return proseOf(page)
    .split('\n')
    .filter((line) => !/^\s*\|/.test(line))
    .filter((line) => line.replaceAll(/\]\([^)]*\)|<?https?:\/\/\S+/g, ']').length > max)
}
