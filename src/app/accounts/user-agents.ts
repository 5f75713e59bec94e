const browsers: [pattern: RegExp, name: string][] = [
  [/\bEdg(e|A|iOS)?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\b(Firefox|FxiOS)\//, 'Firefox'],
  [/\b(Chrome|CriOS)\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
]
const systems: [pattern: RegExp, name: string][] = [
  [/iPhone|iPad/, 'iOS'],
  [/Android/, 'Android'],
  [/Windows/, 'Windows'],
  [/Mac OS X|Macintosh/, 'macOS'],
  [/CrOS/, 'ChromeOS'],
  [/Linux/, 'Linux'],
]

/** The name before the version of a program. It has no dot, because mail programs make links of host names. */
const PROGRAM = /^[A-Za-z][\w-]{0,29}(?=\/)/

const nameIn = (names: [RegExp, string][], userAgent: string): string | undefined =>
  names.find(([pattern]) => pattern.test(userAgent))?.[1]

/** `Firefox on Linux`, `Firefox`, or null for a program that is not a known browser. */
function browserIn(userAgent: string): string | null {
  const browser = nameIn(browsers, userAgent)
  const system = nameIn(systems, userAgent)
  if (browser === undefined) return null
  return system === undefined ? browser : `${browser} on ${system}`
}

/** A readable User-Agent, for example `Firefox on Linux`. An unknown one is shown unchanged. */
export function describeUserAgent(userAgent: string | null): string {
  if (!userAgent) return 'Unknown device'
  return browserIn(userAgent) ?? [...userAgent].slice(0, 80).join('')
}

/**
 * A User-Agent in words for a mail. The client that logs in chooses the header, and the mail goes to the account's owner, so no
 * text of an unknown one is shown, except the name of a program such as `curl`.
 */
export const deviceName = (userAgent: string): string =>
  browserIn(userAgent) ?? PROGRAM.exec(userAgent)?.[0] ?? 'an unknown program'

/** A User-Agent without its version numbers, so that an updated browser is the same device. */
export const withoutVersions = (userAgent: string): string => userAgent.replaceAll(/[\d._]+/g, '')
