import { UserError } from './errors.ts'

/** Reads an application's address. Throws UserError: `localhost:8787` is a URL too, of the scheme `localhost`. */
export function readAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url && /^https?:$/.test(url.protocol)) return url
  throw new UserError(
    `"${text}" is not an address.`,
    'Write it with http:// or https://, like http://localhost:8787 or https://a.example.',
  )
}

/** Where `npm run dev` answers. */
export const isLocal = (address: string): boolean =>
  ['localhost', '127.0.0.1', '[::1]'].includes(readAddress(address).hostname)
