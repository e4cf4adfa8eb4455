import t from 'tap'
import { fileName, render } from './template.ts'

const holds = { own: true, issuer: false }

t.test('a file is for a project unless its name says another choice, and has dots where npm packs none', async (t) => {
  const names = ['start.js', 'page/page.own.js', 'page/page.issuer.js', 'dot-gitignore', 'a/dot-b', 'a.test.own.js']
  t.strictSame(
    names.map((name) => fileName(name, holds)),
    ['start.js', 'page/page.js', undefined, '.gitignore', 'a/.b', 'a.test.js'],
  )
  t.equal(fileName('project.test.js', holds), 'project.test.js', 'another word is a part of the name')
})

t.test('a line that ends with a condition is there if that holds, without it', async (t) => {
  const text = `one {{name}}
js() //? own
js() //? issuer
yaml: a # b #? own
yaml: c #? issuer
md <!--? own -->
<!--? issuer -->

end`
  t.equal(render(text, holds, { name: 'my-app' }), 'one my-app\njs()\nyaml: a # b\nmd\n\nend')
})

t.test('what was left out leaves no gap', async (t) => {
  t.equal(render('a\n\nb #? issuer\n\nc', holds, {}), 'a\n\nc')
})
