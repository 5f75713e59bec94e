import { UserError } from './errors.ts'

/**
 * Reads an http(s) address. Throws UserError, also for `localhost:8787`, which is a URL with the scheme `localhost`.
 */
export function readAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url && /^https?:$/.test(url.protocol)) return url
  throw new UserError(
    `"${text}" is not an address.`,
    'Start it with http:// or https://, for example http://localhost:8787 or https://banyan.example.com.',
  )
}

/** True for the addresses at which `npm run dev` answers. */
export const isLocal = (address: string): boolean =>
  ['localhost', '127.0.0.1', '[::1]'].includes(readAddress(address).hostname)
