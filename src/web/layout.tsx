import { html } from 'hono/html'
import type { Child } from 'hono/jsx'
import { readableTime } from './readable-times.ts'

export type AssetUrls = { style: string; script: string; icon: string }
export type Notice = { kind: 'good' | 'bad'; text: string }

/** The client script shows it as `5 minutes ago`, or in the reader's time zone. */
export const Timestamp = ({ time }: { time: string }) => (
  <time datetime={time} data-relative="">
    {readableTime(time)}
  </time>
)

const BanyanMark = () => (
  <svg class="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true" focusable="false">
    <path d="M1.5 16.5C1.5 11.6 5 9 8.2 8.7 9.5 5 12.6 3 16 3s6.5 2 7.8 5.7c3.2.3 6.7 2.9 6.7 7.8z" />
    <path d="M13.5 16h5c0 6 .3 9.5 2.5 13H11c2.2-3.5 2.5-7 2.5-13zM6 16h2.3v8.5L7.2 29 6 24.5zM23.7 16H26v5l-1.2 4-1.1-4z" />
  </svg>
)

/** The layout of all pages: a margin that names the page, and the body beside it (below it on a phone). */
export const Spread = ({ margin, children }: { margin: Child; children: Child }) => (
  <div class="spread">
    <div class="spread-margin">{margin}</div>
    <div class="spread-body">{children}</div>
  </div>
)

type NavLinkProps = { href: string; path: string; class?: string; children: Child }

/** A link of the main navigation, marked if it points to the current page. */
export const NavLink = ({ href, path, class: extra, children }: NavLinkProps) => (
  <a class={extra ? `nav-link ${extra}` : 'nav-link'} href={href} aria-current={href === path ? 'page' : undefined}>
    {children}
  </a>
)

type MastheadProps = { navigation: Child[]; isSignedIn: boolean }

const Masthead = ({ navigation, isSignedIn }: MastheadProps) => (
  <header class="masthead">
    <div class="masthead-row">
      <a class="wordmark" href="/">
        <BanyanMark />
        Banyan
      </a>
      <nav class={isSignedIn ? 'nav nav-signed-in' : 'nav'} aria-label="Main">
        {navigation}
      </nav>
    </div>
  </header>
)

const NoticeBar = ({ notice }: { notice: Notice }) => (
  <p class={`notice notice-${notice.kind}`} role={notice.kind === 'bad' ? 'alert' : 'status'}>
    {notice.text}
  </p>
)

const Head = ({ title, description, assets }: { title: string; description?: string; assets: AssetUrls }) => (
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>{title === 'Banyan' ? title : `${title} · Banyan`}</title>
    {description ? <meta name="description" content={description} /> : null}
    <meta name="color-scheme" content="light dark" />
    <meta name="theme-color" content="#f5efe1" media="(prefers-color-scheme: light)" />
    <meta name="theme-color" content="#0f1a15" media="(prefers-color-scheme: dark)" />
    <meta name="format-detection" content="telephone=no" />
    <link rel="icon" href={assets.icon} type="image/svg+xml" />
    <link rel="stylesheet" href={assets.style} />
    <script src={assets.script} defer></script>
  </head>
)

export type LayoutProps = {
  title: string
  description?: string
  assets: AssetUrls
  navigation: Child[]
  isSignedIn: boolean
  notice?: Notice | null
  children: Child
}

/** The whole document, including the doctype. */
export const Layout = ({ title, description, assets, notice, children, ...masthead }: LayoutProps) =>
  html`<!doctype html>${(
    <html lang="en">
      <Head title={title} assets={assets} {...(description ? { description } : {})} />
      <body>
        <a class="skip" href="#main">
          Skip to content
        </a>
        <Masthead {...masthead} />
        <main class="main" id="main" tabindex={-1}>
          {notice ? <NoticeBar notice={notice} /> : null}
          {children}
        </main>
        <footer class="footer">
          <p class="footer-row">
            <BanyanMark />
            <span>Many roots, one tree.</span>
            <a href="/api/openapi.json">API</a>
          </p>
        </footer>
      </body>
    </html>
  )}`

export type ErrorPageProps = { status: number; title: string; detail: string; requestId: string; howTo?: string }

export const ErrorPage = ({ status, title, detail, requestId, howTo }: ErrorPageProps) => (
  <section class="failure">
    <p class="failure-status" aria-hidden="true">
      {status}
    </p>
    <h1>{title}</h1>
    <p class="lead">{detail}</p>
    {howTo ? <p>{howTo}</p> : null}
    <p>
      <a class="button" href="/">
        Go to the front page
      </a>
    </p>
    <p class="fine">
      If you report this, quote request <code>{requestId}</code>
    </p>
  </section>
)
