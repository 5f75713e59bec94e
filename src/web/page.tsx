import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import type { BanyanError } from '../core/errors.ts'
import type { WebEnv } from './context.ts'
import type { FormStatus } from './form.ts'
import { ErrorPage, Layout, type Notice } from './layout.tsx'
import { publicDetail, retryAfter } from './problems.ts'
import type { Viewer } from './site.ts'

export interface Page {
  title: string
  description?: string
  viewer: Viewer | null
  notice?: Notice | null
  status?: FormStatus | undefined
}

/** Answers with an HTML page. */
export function page(
  c: Context<WebEnv>,
  { status, viewer, ...about }: Page,
  content: Child,
): Response | Promise<Response> {
  const { assets } = c.get('tiers')
  return c.html(
    <Layout {...about} assets={assets} navigation={navigationOf(c, viewer)} isSignedIn={viewer !== null}>
      {content}
    </Layout>,
    status ?? 200,
  )
}

/** Answers with an error page: what happened, and how to fix it. Plain text if the tiers could not be opened. */
export function errorPage(c: Context<WebEnv>, error: BanyanError): Response | Promise<Response> {
  const headers = new Headers()
  retryAfter(error, headers)
  const assets = c.get('tiers')?.assets
  const detail = withoutTitle(publicDetail(error, c.req.url), error.title)
  const content = <ErrorPage status={error.status} title={error.title} detail={detail} requestId={c.get('requestId')} />
  if (!assets) return c.text(`${error.title}\n\n${detail}\n`, error.status, Object.fromEntries(headers))
  return c.html(
    <Layout title={error.title} assets={assets} navigation={navigationOf(c, null)} isSignedIn={false}>
      {content}
    </Layout>,
    error.status,
    Object.fromEntries(headers),
  )
}

/** The heading of the page is the title. */
const withoutTitle = (detail: string, title: string): string =>
  detail.startsWith(`${title}. `) ? detail.slice(title.length + 2) : detail

const navigationOf = (c: Context<WebEnv>, viewer: Viewer | null): Child[] =>
  c
    .get('site')
    .navigation.flatMap((entries) => entries(viewer, c.req.path))
    .sort((one, other) => one.order - other.order)
    .map(({ content }) => content)

/** A form's fields as text. Browsers end lines with CRLF; we store LF. */
export function readForm(c: Context<WebEnv>): Record<string, string> {
  const form = new URLSearchParams(c.get('bodyText'))
  return Object.fromEntries([...form].map(([name, value]) => [name, value.replaceAll('\r\n', '\n')]))
}
