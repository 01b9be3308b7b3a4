#!/usr/bin/env bash
# From four checkpoints to a PDF with the paper's table.
#
#   examples/paper_table.sh [OUTPUT]
#
# As it is, it takes the tiny checkpoints of the package and the mini suite, and needs neither a GPU nor a network.
# For your own, set MODELS (one LABEL=VARIANT=CHECKPOINT a line), TASKS, and further options of `evalkit run`:
#
#   MODELS=$'Vanilla RoPE=vanilla=/ckpts/vanilla\nMRoPE-I (ours)=mrope-i=/ckpts/mrope-i' \
#   TASKS=paper RUN_OPTIONS='--data-root /data' BASELINE='Vanilla RoPE' examples/paper_table.sh results/table2
set -euo pipefail

output=${1:-results/paper_table}
read -ra evalkit <<<"${EVALKIT:-evalkit}"
tasks=${TASKS:-mini}
zoo=$("${PYTHON:-python3}" -c 'import evalkit.zoo, pathlib; print(pathlib.Path(evalkit.zoo.__file__).parent / "checkpoints")')
models=${MODELS:-"Vanilla RoPE=vanilla=$zoo/tiny-vanilla
MRoPE=mrope=$zoo/tiny-mrope
MHRoPE (ours)=mhrope=$zoo/tiny-mhrope
MRoPE-I (ours)=mrope-i=$zoo/tiny-mrope-i"}

options=(--tasks "$tasks" --output "$output/run")
while IFS= read -r model; do options+=(--model "$model"); done <<<"$models"
read -ra further <<<"${RUN_OPTIONS:-}"

# 3: some samples failed, or a score is unreliable. The table marks these, and this script ends with 3 as well.
code=0
"${evalkit[@]}" run "${options[@]}" "${further[@]}" || code=$?
[[ $code == 0 || $code == 3 ]] || exit "$code"

table=("${evalkit[@]}" compare "$output/run" --layout paper --baseline "${BASELINE:-MRoPE}")
"${table[@]}"
"${table[@]}" --format latex >"$output/table.tex"            # to paste: needs \usepackage{booktabs} alone
"${table[@]}" --format latex --standalone >"$output/page.tex" # compiles alone

# Labels in letters that pdfLaTeX can't set need another engine: the document then loads fontspec.
engine=pdflatex
if grep -q fontspec "$output/page.tex"; then engine=$(command -v xelatex || command -v lualatex || echo xelatex); fi
if command -v "$engine" >/dev/null; then
  (cd "$output" && "$engine" -interaction=nonstopmode -halt-on-error page.tex >page.out) ||
    { cat "$output/page.out" >&2; exit 1; }
  echo "$output/page.pdf"
elif command -v tectonic >/dev/null; then
  tectonic --outdir "$output" "$output/page.tex"
  echo "$output/page.pdf"
else
  echo "no LaTeX here ($engine or tectonic): $output/page.tex is ready to be compiled" >&2
fi
exit "$code"
