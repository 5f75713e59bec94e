/** Leaves cut out of a lobe of the crown, in a sunflower spiral that is scaled to the lobe's width and height. */
function leafCuts(x: number, y: number, width: number, height: number, count: number): string {
  const goldenAngle = Math.PI * (3 - Math.sqrt(5))
  let path = ''
  for (let i = 1; i <= count; i++) {
    const radius = Math.sqrt(i / count)
    const left = Math.round(x + width * radius * Math.cos(i * goldenAngle)) - 7
    const top = Math.round(y + height * radius * Math.sin(i * goldenAngle))
    path += `M${left} ${top}q7-9 15-5-5 8-15 5z`
  }
  return path
}

const cuts = leafCuts(330, 130, 160, 84, 44) + leafCuts(116, 178, 72, 26, 10) + leafCuts(544, 162, 60, 44, 11)

/** A trunk from the crown to the ground, flared at the ground. */
function trunk(x: number, width: number): string {
  const w = width / 2
  return `M${x - w} 190C${x - w * 0.7} 260 ${x - w * 0.8} 320 ${x - w * 2.1} 362H${x + w * 2.1}C${x + w * 0.8} 320 ${x + w * 0.7} 260 ${x + w} 190z`
}

const trunks = [trunk(330, 40), trunk(182, 26), trunk(474, 24)].join('')

/** x, and the y at which the root ends. */
const hangingRoots: [x: number, end: number][] = [
  [96, 268],
  [128, 300],
  [140, 262],
  [228, 318],
  [246, 280],
  [262, 300],
  [286, 262],
  [378, 290],
  [394, 322],
  [420, 276],
  [508, 300],
  [522, 262],
]
const hanging = hangingRoots.map(([x, end]) => `M${x} 200V${end}`).join('')

const Tree = () => (
  <svg class="tree" viewBox="0 0 660 400" aria-hidden="true" focusable="false">
    <path class="tree-root" d={hanging} />
    <path class="tree-body" d={trunks} />
    <path
      class="tree-body"
      d="M40 214C4 196 14 146 62 140 66 104 118 84 160 98 182 48 252 22 318 34 372 10 452 26 478 76 526 62 582 88 588 130 640 136 654 190 616 214 590 232 552 220 536 214 512 234 466 232 446 216 418 236 378 232 362 218 340 236 306 234 292 218 266 236 226 232 210 216 190 232 146 232 128 214 108 230 66 228 40 214z"
    />
    <path class="tree-cut" d={cuts} />
    <path class="tree-new" d="M578 214V318" />
    <path class="tree-new tree-path" d="M578 326V360" />
    <path class="tree-ground" d="M12 363H648" />
  </svg>
)

export const Landing = () => (
  <div class="landing">
    <section class="landing-top">
      <div>
        <h1>A small place to publish.</h1>
        <p class="lead">
          Banyan is a small community of people who write. You get a page at an address you choose, and as much room as
          a good letter takes: 2,000 characters of plain text.
        </p>
        <p class="actions">
          <a class="button" href="/signup">
            Create your account
          </a>
          <a class="button button-quiet" href="/login">
            Log in
          </a>
        </p>
      </div>
      <figure>
        <Tree />
        <figcaption>Three trunks hold it up. A fourth is on its way down.</figcaption>
      </figure>
    </section>
    <section class="landing-why" aria-labelledby="why">
      <h2 id="why">Why it’s called that</h2>
      <div class="prose">
        <p>
          A banyan starts as one trunk. When it needs support, it lets down a root. The root becomes another trunk, and
          it is still one tree.
        </p>
        <p>
          The server under this site is built the same way. It is called Banyan too, and it is made for Cloudflare. Each
          account is stored whole in one of several databases, and its id says in which.
        </p>
      </div>
    </section>
    <section class="landing-why" aria-labelledby="here">
      <h2 id="here">What you’ll find here</h2>
      <dl class="facts">
        <dt>Pages without fuss</dt>
        <dd>The server sends them complete. Everything works with scripts switched off.</dd>
        <dt>Your words as you typed them</dt>
        <dd>Any language, either direction, line breaks kept. Edit or delete whenever you like.</dd>
        <dt>An account you can look after</dt>
        <dd>See where you are logged in, and end any session from anywhere.</dd>
      </dl>
    </section>
  </div>
)
