;; SIMD kernels of extreme classification. Every address and stride is in bytes, every count in elements. All memory is one
;; imported shared memory, so that a worker with its own instance sees the same matrices.
(module
  (import "env" "memory" (memory 1 65536 shared))

  ;; C[m,n] += alpha * A[m,k] B[k,n]. A by strides sm (row) and sk (column), so that either side may be transposed; B and C
  ;; have contiguous rows. m a multiple of 4, n of 8. The 4 x 8 tile of C stays in registers over k.
  (func $gemm (export "gemm")
    (param $m i32) (param $n i32) (param $k i32) (param $a i32) (param $sm i32) (param $sk i32)
    (param $b i32) (param $ldb i32) (param $c i32) (param $ldc i32) (param $alpha f32)
    (local $i i32) (local $j i32) (local $t i32) (local $pa i32) (local $pb i32) (local $pc i32)
    (local $sm2 i32) (local $sm3 i32) (local $x v128) (local $b0 v128) (local $b1 v128) (local $va v128)
    (local $c00 v128) (local $c01 v128) (local $c10 v128) (local $c11 v128) (local $c20 v128) (local $c21 v128) (local $c30 v128) (local $c31 v128)
    (local.set $va (f32x4.splat (local.get $alpha)))
    (local.set $sm2 (i32.mul (local.get $sm) (i32.const 2)))
    (local.set $sm3 (i32.mul (local.get $sm) (i32.const 3)))
    (loop $rows
      (local.set $j (i32.const 0))
      (loop $cols
        (local.set $c00 (f32x4.splat (f32.const 0)))
        (local.set $c01 (f32x4.splat (f32.const 0)))
        (local.set $c10 (f32x4.splat (f32.const 0)))
        (local.set $c11 (f32x4.splat (f32.const 0)))
        (local.set $c20 (f32x4.splat (f32.const 0)))
        (local.set $c21 (f32x4.splat (f32.const 0)))
        (local.set $c30 (f32x4.splat (f32.const 0)))
        (local.set $c31 (f32x4.splat (f32.const 0)))
        (local.set $pa (i32.add (local.get $a) (i32.mul (local.get $i) (local.get $sm))))
        (local.set $pb (i32.add (local.get $b) (i32.shl (local.get $j) (i32.const 2))))
        (local.set $t (local.get $k))
        (loop $sum
          (local.set $b0 (v128.load (local.get $pb)))
          (local.set $b1 (v128.load offset=16 (local.get $pb)))
          (local.set $x (v128.load32_splat (local.get $pa)))
          (local.set $c00 (f32x4.add (local.get $c00) (f32x4.mul (local.get $x) (local.get $b0))))
          (local.set $c01 (f32x4.add (local.get $c01) (f32x4.mul (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat (i32.add (local.get $pa) (local.get $sm))))
          (local.set $c10 (f32x4.add (local.get $c10) (f32x4.mul (local.get $x) (local.get $b0))))
          (local.set $c11 (f32x4.add (local.get $c11) (f32x4.mul (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat (i32.add (local.get $pa) (local.get $sm2))))
          (local.set $c20 (f32x4.add (local.get $c20) (f32x4.mul (local.get $x) (local.get $b0))))
          (local.set $c21 (f32x4.add (local.get $c21) (f32x4.mul (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat (i32.add (local.get $pa) (local.get $sm3))))
          (local.set $c30 (f32x4.add (local.get $c30) (f32x4.mul (local.get $x) (local.get $b0))))
          (local.set $c31 (f32x4.add (local.get $c31) (f32x4.mul (local.get $x) (local.get $b1))))
          (local.set $pa (i32.add (local.get $pa) (local.get $sk)))
          (local.set $pb (i32.add (local.get $pb) (local.get $ldb)))
          (br_if $sum (local.tee $t (i32.sub (local.get $t) (i32.const 1)))))
        (local.set $pc (i32.add (i32.add (local.get $c) (i32.mul (local.get $i) (local.get $ldc))) (i32.shl (local.get $j) (i32.const 2))))
        (v128.store (local.get $pc) (f32x4.add (v128.load (local.get $pc)) (f32x4.mul (local.get $va) (local.get $c00))))
        (v128.store offset=16 (local.get $pc) (f32x4.add (v128.load offset=16 (local.get $pc)) (f32x4.mul (local.get $va) (local.get $c01))))
        (local.set $pc (i32.add (local.get $pc) (local.get $ldc)))
        (v128.store (local.get $pc) (f32x4.add (v128.load (local.get $pc)) (f32x4.mul (local.get $va) (local.get $c10))))
        (v128.store offset=16 (local.get $pc) (f32x4.add (v128.load offset=16 (local.get $pc)) (f32x4.mul (local.get $va) (local.get $c11))))
        (local.set $pc (i32.add (local.get $pc) (local.get $ldc)))
        (v128.store (local.get $pc) (f32x4.add (v128.load (local.get $pc)) (f32x4.mul (local.get $va) (local.get $c20))))
        (v128.store offset=16 (local.get $pc) (f32x4.add (v128.load offset=16 (local.get $pc)) (f32x4.mul (local.get $va) (local.get $c21))))
        (local.set $pc (i32.add (local.get $pc) (local.get $ldc)))
        (v128.store (local.get $pc) (f32x4.add (v128.load (local.get $pc)) (f32x4.mul (local.get $va) (local.get $c30))))
        (v128.store offset=16 (local.get $pc) (f32x4.add (v128.load offset=16 (local.get $pc)) (f32x4.mul (local.get $va) (local.get $c31))))
        (br_if $cols (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 8))) (local.get $n))))
      (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $m)))))

  ;; 1 / (1 + exp(-x)) of four lanes: 2^n by the exponent bits, 2^f on [-1/2, 1/2] by a polynomial. The relative
  ;; error is that of rounding the argument: below 3e-7 near 0, 1e-5 at 50.
  (func $sigmoid (param $x v128) (result v128)
    (local $t v128) (local $n v128) (local $p v128)
    (local.set $t (f32x4.mul (f32x4.splat (f32.const -1.4426950408889634))
      (f32x4.max (f32x4.splat (f32.const -60)) (f32x4.min (f32x4.splat (f32.const 60)) (local.get $x)))))
    (local.set $n (f32x4.nearest (local.get $t)))
    (local.set $t (f32x4.sub (local.get $t) (local.get $n)))
    (local.set $p (f32x4.splat (f32.const 1.535336188319500e-4)))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 1.339887440266574e-3))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 9.618437357674640e-3))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 5.550332471162809e-2))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 2.402264791363012e-1))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 6.931472028550421e-1))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 1))))
    (local.set $p (f32x4.mul (local.get $p)
      (i32x4.shl (i32x4.add (i32x4.trunc_sat_f32x4_s (local.get $n)) (i32x4.splat (i32.const 127))) (i32.const 23))))
    (f32x4.div (f32x4.splat (f32.const 1)) (f32x4.add (f32x4.splat (f32.const 1)) (local.get $p))))

  ;; In place: s = weight * sigmoid(s + bias). count a multiple of 4.
  (func $gradients (export "gradients") (param $s i32) (param $count i32) (param $bias f32) (param $weight f32)
    (local $end i32) (local $vb v128) (local $vw v128)
    (local.set $vb (f32x4.splat (local.get $bias)))
    (local.set $vw (f32x4.splat (local.get $weight)))
    (local.set $end (i32.add (local.get $s) (i32.shl (local.get $count) (i32.const 2))))
    (loop $each
      (v128.store (local.get $s)
        (f32x4.mul (local.get $vw) (call $sigmoid (f32x4.add (local.get $vb) (v128.load (local.get $s))))))
      (br_if $each (i32.lt_u (local.tee $s (i32.add (local.get $s) (i32.const 16))) (local.get $end)))))

  (func $sum4 (param $x v128) (result f32)
    (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $x)) (f32x4.extract_lane 1 (local.get $x)))
      (f32.add (f32x4.extract_lane 2 (local.get $x)) (f32x4.extract_lane 3 (local.get $x)))))

  ;; Inner product; d a multiple of 8.
  (func $dot (export "dot") (param $a i32) (param $b i32) (param $d i32) (result f32)
    (local $end i32) (local $s0 v128) (local $s1 v128)
    (local.set $end (i32.add (local.get $a) (i32.shl (local.get $d) (i32.const 2))))
    (loop $each
      (local.set $s0 (f32x4.add (local.get $s0) (f32x4.mul (v128.load (local.get $a)) (v128.load (local.get $b)))))
      (local.set $s1 (f32x4.add (local.get $s1) (f32x4.mul (v128.load offset=16 (local.get $a)) (v128.load offset=16 (local.get $b)))))
      (local.set $b (i32.add (local.get $b) (i32.const 32)))
      (br_if $each (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 32))) (local.get $end))))
    (call $sum4 (f32x4.add (local.get $s0) (local.get $s1))))

  ;; Scores of listed rows of w: out[j] = z . w[ids[j]].
  (func $scores (export "scores") (param $z i32) (param $d i32) (param $w i32) (param $ids i32) (param $n i32) (param $out i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $ids) (i32.shl (local.get $n) (i32.const 2))))
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $each
        (f32.store (local.get $out)
          (call $dot (local.get $z)
            (i32.add (local.get $w) (i32.mul (i32.load (local.get $ids)) (i32.shl (local.get $d) (i32.const 2))))
            (local.get $d)))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br_if $each (i32.lt_u (local.tee $ids (i32.add (local.get $ids) (i32.const 4))) (local.get $end))))))

  ;; One point against listed labels, the first `positives` of them true. For each: g = weight (sigmoid(z.w + bias) - y),
  ;; dz += g w, w -= lr g z. weights[j] scales the gradient of label j. d a multiple of 8.
  (func $ragged (export "ragged") (param $z i32) (param $dz i32) (param $d i32) (param $w i32) (param $ids i32) (param $weights i32)
    (param $n i32) (param $positives i32) (param $bias f32) (param $lr f32)
    (local $j i32) (local $row i32) (local $at i32) (local $bytes i32) (local $g f32) (local $vg v128) (local $vu v128) (local $x v128) (local $p i32)
    (local.set $bytes (i32.shl (local.get $d) (i32.const 2)))
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $each
        (local.set $row (i32.add (local.get $w) (i32.mul (i32.load (i32.add (local.get $ids) (i32.shl (local.get $j) (i32.const 2)))) (local.get $bytes))))
        (local.set $g (f32x4.extract_lane 0 (call $sigmoid (f32x4.splat
          (f32.add (local.get $bias) (call $dot (local.get $z) (local.get $row) (local.get $d)))))))
        (if (i32.lt_u (local.get $j) (local.get $positives))
          (then (local.set $g (f32.sub (local.get $g) (f32.const 1)))))
        (local.set $g (f32.mul (local.get $g) (f32.load (i32.add (local.get $weights) (i32.shl (local.get $j) (i32.const 2))))))
        (local.set $vg (f32x4.splat (local.get $g)))
        (local.set $vu (f32x4.splat (f32.mul (local.get $g) (f32.neg (local.get $lr)))))
        (local.set $at (i32.const 0))
        (loop $row
          (local.set $p (i32.add (local.get $row) (local.get $at)))
          (local.set $x (v128.load (local.get $p)))
          (v128.store (i32.add (local.get $dz) (local.get $at))
            (f32x4.add (v128.load (i32.add (local.get $dz) (local.get $at))) (f32x4.mul (local.get $vg) (local.get $x))))
          (v128.store (local.get $p)
            (f32x4.add (local.get $x) (f32x4.mul (local.get $vu) (v128.load (i32.add (local.get $z) (local.get $at))))))
          (br_if $row (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $bytes))))
        (br_if $each (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))))

  ;; out = sum of values[j] * rows[ids[j]]: the bag of one point. d a multiple of 4.
  (func $bag (export "bag") (param $rows i32) (param $d i32) (param $ids i32) (param $values i32) (param $n i32) (param $out i32)
    (local $at i32) (local $bytes i32) (local $j i32) (local $s v128)
    (local.set $bytes (i32.shl (local.get $d) (i32.const 2)))
    (if (local.get $n)
      (then (i32.store (local.get $out) (call $touch (local.get $rows) (local.get $bytes) (local.get $ids) (local.get $n)))))
    (loop $columns
      (local.set $s (f32x4.splat (f32.const 0)))
      (local.set $j (i32.const 0))
      (block $done
        (br_if $done (i32.eqz (local.get $n)))
        (loop $each
          (local.set $s (f32x4.add (local.get $s) (f32x4.mul
            (v128.load32_splat (i32.add (local.get $values) (local.get $j)))
            (v128.load (i32.add (local.get $at) (i32.add (local.get $rows)
              (i32.mul (i32.load (i32.add (local.get $ids) (local.get $j))) (local.get $bytes))))))))
          (br_if $each (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 4))) (i32.shl (local.get $n) (i32.const 2))))))
      (v128.store (i32.add (local.get $out) (local.get $at)) (local.get $s))
      (br_if $columns (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $bytes)))))

  ;; Row-wise Adagrad of one row: accumulator += mean g^2; row -= lr g / sqrt(accumulator). d a multiple of 8.
  (func $adagrad (export "adagrad") (param $row i32) (param $g i32) (param $d i32) (param $accumulator i32) (param $lr f32)
    (local $a f32) (local $at i32) (local $bytes i32) (local $step v128)
    (local.set $a (f32.add (f32.load (local.get $accumulator))
      (f32.div (call $dot (local.get $g) (local.get $g) (local.get $d)) (f32.convert_i32_s (local.get $d)))))
    (f32.store (local.get $accumulator) (local.get $a))
    (local.set $step (f32x4.splat (f32.div (f32.neg (local.get $lr)) (f32.sqrt (local.get $a)))))
    (local.set $bytes (i32.shl (local.get $d) (i32.const 2)))
    (loop $each
      (v128.store (i32.add (local.get $row) (local.get $at))
        (f32x4.add (v128.load (i32.add (local.get $row) (local.get $at)))
          (f32x4.mul (local.get $step) (v128.load (i32.add (local.get $g) (local.get $at))))))
      (br_if $each (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $bytes)))))

  ;; Fixed-point scores: out[i, l] = scale[l] * (points[i] . labels[l]), points as rows of d 16-bit numbers, labels packed by
  ;; blocks of 8 as [d / 2][8][2]. m a multiple of 4; d of 2. The caller keeps |value| small enough for 32-bit sums.
  (func $scan (export "scan") (param $points i32) (param $m i32) (param $d i32) (param $packed i32) (param $blocks i32)
    (param $scales i32) (param $out i32) (param $ldo i32)
    (local $i i32) (local $t i32) (local $pa i32) (local $pb i32) (local $po i32) (local $bytes i32) (local $d2 i32) (local $d3 i32)
    (local $x v128) (local $b0 v128) (local $b1 v128)
    (local $c00 v128) (local $c01 v128) (local $c10 v128) (local $c11 v128) (local $c20 v128) (local $c21 v128) (local $c30 v128) (local $c31 v128)
    (local.set $bytes (i32.shl (local.get $d) (i32.const 1)))
    (local.set $d2 (i32.mul (local.get $bytes) (i32.const 2)))
    (local.set $d3 (i32.mul (local.get $bytes) (i32.const 3)))
    (loop $labels
      (local.set $i (i32.const 0))
      (local.set $po (local.get $out))
      (loop $rows
        (local.set $c00 (i32x4.splat (i32.const 0)))
        (local.set $c01 (i32x4.splat (i32.const 0)))
        (local.set $c10 (i32x4.splat (i32.const 0)))
        (local.set $c11 (i32x4.splat (i32.const 0)))
        (local.set $c20 (i32x4.splat (i32.const 0)))
        (local.set $c21 (i32x4.splat (i32.const 0)))
        (local.set $c30 (i32x4.splat (i32.const 0)))
        (local.set $c31 (i32x4.splat (i32.const 0)))
        (local.set $pa (i32.add (local.get $points) (i32.mul (local.get $i) (local.get $bytes))))
        (local.set $pb (local.get $packed))
        (local.set $t (i32.shr_u (local.get $d) (i32.const 1)))
        (loop $sum
          (local.set $b0 (v128.load (local.get $pb)))
          (local.set $b1 (v128.load offset=16 (local.get $pb)))
          (local.set $x (v128.load32_splat (local.get $pa)))
          (local.set $c00 (i32x4.add (local.get $c00) (i32x4.dot_i16x8_s (local.get $x) (local.get $b0))))
          (local.set $c01 (i32x4.add (local.get $c01) (i32x4.dot_i16x8_s (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat (i32.add (local.get $pa) (local.get $bytes))))
          (local.set $c10 (i32x4.add (local.get $c10) (i32x4.dot_i16x8_s (local.get $x) (local.get $b0))))
          (local.set $c11 (i32x4.add (local.get $c11) (i32x4.dot_i16x8_s (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat (i32.add (local.get $pa) (local.get $d2))))
          (local.set $c20 (i32x4.add (local.get $c20) (i32x4.dot_i16x8_s (local.get $x) (local.get $b0))))
          (local.set $c21 (i32x4.add (local.get $c21) (i32x4.dot_i16x8_s (local.get $x) (local.get $b1))))
          (local.set $x (v128.load32_splat (i32.add (local.get $pa) (local.get $d3))))
          (local.set $c30 (i32x4.add (local.get $c30) (i32x4.dot_i16x8_s (local.get $x) (local.get $b0))))
          (local.set $c31 (i32x4.add (local.get $c31) (i32x4.dot_i16x8_s (local.get $x) (local.get $b1))))
          (local.set $pa (i32.add (local.get $pa) (i32.const 4)))
          (local.set $pb (i32.add (local.get $pb) (i32.const 32)))
          (br_if $sum (local.tee $t (i32.sub (local.get $t) (i32.const 1)))))
        (v128.store (local.get $po) (f32x4.mul (v128.load (local.get $scales)) (f32x4.convert_i32x4_s (local.get $c00))))
        (v128.store offset=16 (local.get $po) (f32x4.mul (v128.load offset=16 (local.get $scales)) (f32x4.convert_i32x4_s (local.get $c01))))
        (local.set $po (i32.add (local.get $po) (local.get $ldo)))
        (v128.store (local.get $po) (f32x4.mul (v128.load (local.get $scales)) (f32x4.convert_i32x4_s (local.get $c10))))
        (v128.store offset=16 (local.get $po) (f32x4.mul (v128.load offset=16 (local.get $scales)) (f32x4.convert_i32x4_s (local.get $c11))))
        (local.set $po (i32.add (local.get $po) (local.get $ldo)))
        (v128.store (local.get $po) (f32x4.mul (v128.load (local.get $scales)) (f32x4.convert_i32x4_s (local.get $c20))))
        (v128.store offset=16 (local.get $po) (f32x4.mul (v128.load offset=16 (local.get $scales)) (f32x4.convert_i32x4_s (local.get $c21))))
        (local.set $po (i32.add (local.get $po) (local.get $ldo)))
        (v128.store (local.get $po) (f32x4.mul (v128.load (local.get $scales)) (f32x4.convert_i32x4_s (local.get $c30))))
        (v128.store offset=16 (local.get $po) (f32x4.mul (v128.load offset=16 (local.get $scales)) (f32x4.convert_i32x4_s (local.get $c31))))
        (local.set $po (i32.add (local.get $po) (local.get $ldo)))
        (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $m))))
      (local.set $packed (i32.add (local.get $packed) (i32.shl (local.get $d) (i32.const 4))))
      (local.set $scales (i32.add (local.get $scales) (i32.const 32)))
      (local.set $out (i32.add (local.get $out) (i32.const 32)))
      (br_if $labels (local.tee $blocks (i32.sub (local.get $blocks) (i32.const 1))))))

  ;; The same for one point, which would waste three rows of four there: out[l] = scale[l] * (point . labels[l]).
  (func $scan_one (export "scanOne") (param $point i32) (param $d i32) (param $packed i32) (param $blocks i32) (param $scales i32) (param $out i32)
    (local $p i32) (local $end i32) (local $x v128) (local $c0 v128) (local $c1 v128) (local $c2 v128) (local $c3 v128)
    (local.set $end (i32.add (local.get $point) (i32.shl (local.get $d) (i32.const 1))))
    (loop $labels
      (local.set $c0 (i32x4.splat (i32.const 0)))
      (local.set $c1 (i32x4.splat (i32.const 0)))
      (local.set $c2 (i32x4.splat (i32.const 0)))
      (local.set $c3 (i32x4.splat (i32.const 0)))
      (local.set $p (local.get $point))
      (loop $sum
        (local.set $x (v128.load32_splat (local.get $p)))
        (local.set $c0 (i32x4.add (local.get $c0) (i32x4.dot_i16x8_s (local.get $x) (v128.load (local.get $packed)))))
        (local.set $c1 (i32x4.add (local.get $c1) (i32x4.dot_i16x8_s (local.get $x) (v128.load offset=16 (local.get $packed)))))
        (local.set $x (v128.load32_splat offset=4 (local.get $p)))
        (local.set $c2 (i32x4.add (local.get $c2) (i32x4.dot_i16x8_s (local.get $x) (v128.load offset=32 (local.get $packed)))))
        (local.set $c3 (i32x4.add (local.get $c3) (i32x4.dot_i16x8_s (local.get $x) (v128.load offset=48 (local.get $packed)))))
        (local.set $packed (i32.add (local.get $packed) (i32.const 64)))
        (br_if $sum (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8))) (local.get $end))))
      (v128.store (local.get $out) (f32x4.mul (v128.load (local.get $scales)) (f32x4.convert_i32x4_s (i32x4.add (local.get $c0) (local.get $c2)))))
      (v128.store offset=16 (local.get $out) (f32x4.mul (v128.load offset=16 (local.get $scales)) (f32x4.convert_i32x4_s (i32x4.add (local.get $c1) (local.get $c3)))))
      (local.set $scales (i32.add (local.get $scales) (i32.const 32)))
      (local.set $out (i32.add (local.get $out) (i32.const 32)))
      (br_if $labels (local.tee $blocks (i32.sub (local.get $blocks) (i32.const 1))))))

  ;; Reads a word of every cache line of row ids[0] ... ids[n - 1], so that the waits for memory overlap: rows are met in no
  ;; order, and a loop that works on one row after the other has two or three of them under way. The sum keeps the reads alive.
  (func $touch (export "touch") (param $rows i32) (param $bytes i32) (param $ids i32) (param $n i32) (result i32)
    (local $end i32) (local $at i32) (local $last i32) (local $sum i32)
    (local.set $end (i32.add (local.get $ids) (i32.shl (local.get $n) (i32.const 2))))
    (loop $each
      (local.set $at (i32.add (local.get $rows) (i32.mul (i32.load (local.get $ids)) (local.get $bytes))))
      (local.set $last (i32.add (local.get $at) (local.get $bytes)))
      (loop $lines
        (local.set $sum (i32.or (local.get $sum) (i32.load (local.get $at))))
        (br_if $lines (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 64))) (local.get $last))))
      (br_if $each (i32.lt_u (local.tee $ids (i32.add (local.get $ids) (i32.const 4))) (local.get $end))))
    (local.get $sum))

  ;; Copies row ids[j] to the j-th row of out, eight rows touched ahead. bytes a multiple of 16.
  (func $gather (export "gather") (param $rows i32) (param $bytes i32) (param $ids i32) (param $n i32) (param $out i32)
    (local $j i32) (local $at i32) (local $from i32)
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $each
        (if (i32.eqz (i32.and (local.get $j) (i32.const 7)))
          (then
            (i32.store (local.get $out) (call $touch (local.get $rows) (local.get $bytes)
              (i32.add (local.get $ids) (i32.shl (local.get $j) (i32.const 2)))
              (select (i32.const 8) (i32.sub (local.get $n) (local.get $j))
                (i32.gt_u (i32.sub (local.get $n) (local.get $j)) (i32.const 8)))))))
        (local.set $from (i32.add (local.get $rows)
          (i32.mul (i32.load (i32.add (local.get $ids) (i32.shl (local.get $j) (i32.const 2)))) (local.get $bytes))))
        (local.set $at (i32.const 0))
        (loop $row
          (v128.store (i32.add (local.get $out) (local.get $at)) (v128.load (i32.add (local.get $from) (local.get $at))))
          (br_if $row (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $bytes))))
        (local.set $out (i32.add (local.get $out) (local.get $bytes)))
        (br_if $each (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))))

  ;; Copies the j-th row of from to row ids[j]; of equal neighbours among the ids the first counts.
  (func $scatter (export "scatter") (param $rows i32) (param $bytes i32) (param $ids i32) (param $n i32) (param $from i32)
    (local $j i32) (local $at i32) (local $to i32) (local $id i32) (local $last i32)
    (local.set $last (i32.const -1))
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $each
        (local.set $id (i32.load (i32.add (local.get $ids) (i32.shl (local.get $j) (i32.const 2)))))
        (if (i32.ne (local.get $id) (local.get $last))
          (then
            (local.set $to (i32.add (local.get $rows) (i32.mul (local.get $id) (local.get $bytes))))
            (local.set $at (i32.const 0))
            (loop $row
              (v128.store (i32.add (local.get $to) (local.get $at)) (v128.load (i32.add (local.get $from) (local.get $at))))
              (br_if $row (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $bytes))))))
        (local.set $last (local.get $id))
        (local.set $from (i32.add (local.get $from) (local.get $bytes)))
        (br_if $each (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))))

  ;; In place: x = max(x, 0). n a multiple of 4.
  (func $rectify (export "rectify") (param $x i32) (param $n i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $x) (i32.shl (local.get $n) (i32.const 2))))
    (loop $each
      (v128.store (local.get $x) (f32x4.max (v128.load (local.get $x)) (f32x4.splat (f32.const 0))))
      (br_if $each (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 16))) (local.get $end)))))

  ;; In place: x = 0 with chance limit / 2^24, else scale x. state: four 32-bit generators (xorshift), none zero. n a multiple of 4.
  (func $dropout (export "dropout") (param $x i32) (param $n i32) (param $state i32) (param $limit i32) (param $scale f32)
    (local $end i32) (local $r v128) (local $vl v128) (local $vs v128)
    (local.set $end (i32.add (local.get $x) (i32.shl (local.get $n) (i32.const 2))))
    (local.set $r (v128.load (local.get $state)))
    (local.set $vl (i32x4.splat (i32.sub (local.get $limit) (i32.const 1))))
    (local.set $vs (f32x4.splat (local.get $scale)))
    (loop $each
      (local.set $r (v128.xor (local.get $r) (i32x4.shl (local.get $r) (i32.const 13))))
      (local.set $r (v128.xor (local.get $r) (i32x4.shr_u (local.get $r) (i32.const 17))))
      (local.set $r (v128.xor (local.get $r) (i32x4.shl (local.get $r) (i32.const 5))))
      (v128.store (local.get $x) (v128.and
        (i32x4.gt_s (i32x4.shr_u (local.get $r) (i32.const 8)) (local.get $vl))
        (f32x4.mul (local.get $vs) (v128.load (local.get $x)))))
      (br_if $each (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 16))) (local.get $end))))
    (v128.store (local.get $state) (local.get $r)))

  ;; In place: dz = scale dz where z > 0, else 0. n a multiple of 4.
  (func $passed (export "passed") (param $z i32) (param $dz i32) (param $n i32) (param $scale f32)
    (local $end i32) (local $vs v128)
    (local.set $end (i32.add (local.get $z) (i32.shl (local.get $n) (i32.const 2))))
    (local.set $vs (f32x4.splat (local.get $scale)))
    (loop $each
      (v128.store (local.get $dz) (v128.and
        (f32x4.gt (v128.load (local.get $z)) (f32x4.splat (f32.const 0)))
        (f32x4.mul (local.get $vs) (v128.load (local.get $dz)))))
      (local.set $dz (i32.add (local.get $dz) (i32.const 16)))
      (br_if $each (i32.lt_u (local.tee $z (i32.add (local.get $z) (i32.const 16))) (local.get $end)))))

  ;; y += a x. d a multiple of 4.
  (func $axpy (export "axpy") (param $y i32) (param $x i32) (param $d i32) (param $a f32)
    (local $end i32) (local $va v128)
    (local.set $va (f32x4.splat (local.get $a)))
    (local.set $end (i32.add (local.get $y) (i32.shl (local.get $d) (i32.const 2))))
    (loop $each
      (v128.store (local.get $y)
        (f32x4.add (v128.load (local.get $y)) (f32x4.mul (local.get $va) (v128.load (local.get $x)))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (br_if $each (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 16))) (local.get $end)))))

  ;; In place: x = x m, element by element. n a multiple of 4.
  (func $multiply (export "multiply") (param $x i32) (param $m i32) (param $n i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $x) (i32.shl (local.get $n) (i32.const 2))))
    (loop $each
      (v128.store (local.get $x) (f32x4.mul (v128.load (local.get $x)) (v128.load (local.get $m))))
      (local.set $m (i32.add (local.get $m) (i32.const 16)))
      (br_if $each (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 16))) (local.get $end)))))

  ;; Momentum of one row: velocity = mu velocity + g; row -= lr velocity. d a multiple of 4.
  (func $momentum (export "momentum") (param $row i32) (param $g i32) (param $d i32) (param $velocity i32) (param $mu f32) (param $lr f32)
    (local $end i32) (local $v v128) (local $vm v128) (local $vl v128)
    (local.set $vm (f32x4.splat (local.get $mu)))
    (local.set $vl (f32x4.splat (local.get $lr)))
    (local.set $end (i32.add (local.get $row) (i32.shl (local.get $d) (i32.const 2))))
    (loop $each
      (local.set $v (f32x4.add (v128.load (local.get $g)) (f32x4.mul (local.get $vm) (v128.load (local.get $velocity)))))
      (v128.store (local.get $velocity) (local.get $v))
      (v128.store (local.get $row) (f32x4.sub (v128.load (local.get $row)) (f32x4.mul (local.get $vl) (local.get $v))))
      (local.set $g (i32.add (local.get $g) (i32.const 16)))
      (local.set $velocity (i32.add (local.get $velocity) (i32.const 16)))
      (br_if $each (i32.lt_u (local.tee $row (i32.add (local.get $row) (i32.const 16))) (local.get $end)))))

  ;; How many of the numbers up to `end` are above x; a multiple of 4 of them.
  (func $above (param $from i32) (param $end i32) (param $x f32) (result i32)
    (local $n v128) (local $vx v128)
    (local.set $vx (f32x4.splat (local.get $x)))
    (local.set $n (i32x4.splat (i32.const 0)))
    (loop $each
      (local.set $n (i32x4.sub (local.get $n) (f32x4.gt (v128.load (local.get $from)) (local.get $vx))))
      (br_if $each (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 16))) (local.get $end))))
    (i32.add
      (i32.add (i32x4.extract_lane 0 (local.get $n)) (i32x4.extract_lane 1 (local.get $n)))
      (i32.add (i32x4.extract_lane 2 (local.get $n)) (i32x4.extract_lane 3 (local.get $n)))))

  ;; Keeps the best of n entries at the front, in their order: `want` of them, or up to `most` where that is found sooner; among
  ;; equal scores the earlier. Returns a score that none dropped is above and writes how many were kept to `left`. 1 <= want <=
  ;; most, want <= n; kept is on a 16-byte border with room for a multiple of 4. The border between kept and dropped is halved in
  ;; between, which is a few counts by vectors, where a quickselect would guess wrong at every second entry.
  (func $select (export "select") (param $ids i32) (param $kept i32) (param $n i32) (param $want i32) (param $most i32) (param $left i32) (result f32)
    (local $i i32) (local $end i32) (local $to i32) (local $count i32) (local $equal i32)
    (local $low f32) (local $high f32) (local $x f32) (local $vl v128) (local $vh v128)
    (local.set $i (i32.add (local.get $kept) (i32.shl (local.get $n) (i32.const 2))))
    (local.set $end (i32.add (local.get $kept) (i32.shl (i32.and (i32.add (local.get $n) (i32.const 3)) (i32.const -4)) (i32.const 2))))
    (local.set $x (f32.load (local.get $kept)))
    (block $filled
      (loop $fill
        (br_if $filled (i32.ge_u (local.get $i) (local.get $end)))
        (f32.store (local.get $i) (local.get $x))
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (br $fill)))
    (local.set $vl (f32x4.splat (local.get $x)))
    (local.set $vh (local.get $vl))
    (local.set $i (local.get $kept))
    (loop $range
      (local.set $vl (f32x4.min (local.get $vl) (v128.load (local.get $i))))
      (local.set $vh (f32x4.max (local.get $vh) (v128.load (local.get $i))))
      (br_if $range (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 16))) (local.get $end))))
    (local.set $low (f32.min
      (f32.min (f32x4.extract_lane 0 (local.get $vl)) (f32x4.extract_lane 1 (local.get $vl)))
      (f32.min (f32x4.extract_lane 2 (local.get $vl)) (f32x4.extract_lane 3 (local.get $vl)))))
    (local.set $high (f32.max
      (f32.max (f32x4.extract_lane 0 (local.get $vh)) (f32x4.extract_lane 1 (local.get $vh)))
      (f32.max (f32x4.extract_lane 2 (local.get $vh)) (f32x4.extract_lane 3 (local.get $vh)))))
    ;; What fills up to a multiple of 4 is never above.
    (local.set $i (i32.add (local.get $kept) (i32.shl (local.get $n) (i32.const 2))))
    (block $emptied
      (loop $empty
        (br_if $emptied (i32.ge_u (local.get $i) (local.get $end)))
        (f32.store (local.get $i) (local.get $low))
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (br $empty)))
    (local.set $x (local.get $low))
    (local.set $count (call $above (local.get $kept) (local.get $end) (local.get $x)))
    (block $found
      (br_if $found (i32.le_u (local.get $count) (local.get $most)))
      ;; More than `most` are above low, fewer than `want` above high.
      (local.set $count (i32.const 0))
      (loop $halve
        (local.set $x (f32.add (f32.mul (local.get $low) (f32.const 0.5)) (f32.mul (local.get $high) (f32.const 0.5))))
        (if (i32.eqz (i32.and (f32.gt (local.get $x) (local.get $low)) (f32.lt (local.get $x) (local.get $high))))
          (then
            (local.set $x (local.get $high))
            (br $found)))
        (local.set $equal (call $above (local.get $kept) (local.get $end) (local.get $x)))
        (if (i32.gt_u (local.get $equal) (local.get $most))
          (then (local.set $low (local.get $x)) (br $halve)))
        (local.set $count (local.get $equal))
        (if (i32.lt_u (local.get $equal) (local.get $want))
          (then (local.set $high (local.get $x)) (br $halve)))))
    ;; How many equal to the border are wanted.
    (local.set $equal (i32.const 0))
    (if (i32.lt_u (local.get $count) (local.get $want))
      (then
        (local.set $equal (i32.sub (local.get $want) (local.get $count)))
        (local.set $count (local.get $want))))
    (local.set $end (i32.shl (local.get $n) (i32.const 2)))
    (local.set $i (i32.const 0))
    (local.set $to (i32.const 0))
    (loop $keep
      (local.set $low (f32.load (i32.add (local.get $kept) (local.get $i))))
      (f32.store (i32.add (local.get $kept) (local.get $to)) (local.get $low))
      (i32.store (i32.add (local.get $ids) (local.get $to)) (i32.load (i32.add (local.get $ids) (local.get $i))))
      (local.set $to (i32.add (local.get $to) (i32.shl (f32.gt (local.get $low) (local.get $x)) (i32.const 2))))
      (if (f32.eq (local.get $low) (local.get $x))
        (then
          (if (local.get $equal)
            (then
              (local.set $equal (i32.sub (local.get $equal) (i32.const 1)))
              (local.set $to (i32.add (local.get $to) (i32.const 4)))))))
      (br_if $keep (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $end))))
    (i32.store (local.get $left) (local.get $count))
    (local.get $x))

  ;; Sorts n entries, best first, equal scores by the smaller id, by insertion: for short lists.
  (func $order (export "order") (param $ids i32) (param $kept i32) (param $n i32)
    (local $i i32) (local $j i32) (local $end i32) (local $score f32) (local $x f32) (local $id i32)
    (local.set $end (i32.shl (local.get $n) (i32.const 2)))
    (local.set $i (i32.const 4))
    (block $done
      (loop $each
        (br_if $done (i32.ge_s (local.get $i) (local.get $end)))
        (local.set $score (f32.load (i32.add (local.get $kept) (local.get $i))))
        (local.set $id (i32.load (i32.add (local.get $ids) (local.get $i))))
        (local.set $j (i32.sub (local.get $i) (i32.const 4)))
        (block $found
          (loop $shift
            (br_if $found (i32.lt_s (local.get $j) (i32.const 0)))
            (local.set $x (f32.load (i32.add (local.get $kept) (local.get $j))))
            (br_if $found (f32.gt (local.get $x) (local.get $score)))
            (br_if $found (i32.and (f32.eq (local.get $x) (local.get $score))
              (i32.lt_s (i32.load (i32.add (local.get $ids) (local.get $j))) (local.get $id))))
            (f32.store offset=4 (i32.add (local.get $kept) (local.get $j)) (local.get $x))
            (i32.store offset=4 (i32.add (local.get $ids) (local.get $j)) (i32.load (i32.add (local.get $ids) (local.get $j))))
            (local.set $j (i32.sub (local.get $j) (i32.const 4)))
            (br $shift)))
        (f32.store offset=4 (i32.add (local.get $kept) (local.get $j)) (local.get $score))
        (i32.store offset=4 (i32.add (local.get $ids) (local.get $j)) (local.get $id))
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (br $each))))

  ;; Offers a tile of scores to the best lists of its points: row i (ldo bytes apart, n scores, n a multiple of 4) belongs to point
  ;; list[i]. Scores above a point's threshold are appended with ids first + column, those from `end` on are padding; a full
  ;; list is cut to its want and a quarter of the room beyond, which raises the threshold. ids and kept hold `room` entries a point, a
  ;; multiple of 4; scratch holds a number.
  (func $collect (export "collect") (param $scores i32) (param $ldo i32) (param $list i32) (param $here i32) (param $n i32) (param $first i32) (param $end i32)
    (param $ids i32) (param $kept i32) (param $room i32) (param $counts i32) (param $thresholds i32) (param $wants i32) (param $scratch i32)
    (local $j i32) (local $bits i32) (local $lane i32) (local $at i32) (local $p i32) (local $point i32) (local $count i32) (local $id i32)
    (local $pids i32) (local $pkept i32) (local $want i32) (local $threshold f32) (local $vt v128)
    (block $done
      (br_if $done (i32.eqz (local.get $here)))
      (loop $points
        (local.set $point (i32.shl (i32.load (local.get $list)) (i32.const 2)))
        (local.set $count (i32.load (i32.add (local.get $counts) (local.get $point))))
        (local.set $want (i32.load (i32.add (local.get $wants) (local.get $point))))
        (local.set $threshold (f32.load (i32.add (local.get $thresholds) (local.get $point))))
        (local.set $pids (i32.add (local.get $ids) (i32.mul (local.get $point) (local.get $room))))
        (local.set $pkept (i32.add (local.get $kept) (i32.mul (local.get $point) (local.get $room))))
        (local.set $vt (f32x4.splat (local.get $threshold)))
        (local.set $j (i32.const 0))
        (loop $each
          (local.set $p (i32.add (local.get $scores) (i32.shl (local.get $j) (i32.const 2))))
          (local.set $bits (i32x4.bitmask (f32x4.gt (v128.load (local.get $p)) (local.get $vt))))
          (block $next
            (br_if $next (i32.eqz (local.get $bits)))
            (loop $hits
              (local.set $lane (i32.ctz (local.get $bits)))
              (local.set $id (i32.add (local.get $first) (i32.add (local.get $j) (local.get $lane))))
              (block $skip
                (br_if $skip (i32.ge_s (local.get $id) (local.get $end)))
                (local.set $at (i32.shl (local.get $count) (i32.const 2)))
                (i32.store (i32.add (local.get $pids) (local.get $at)) (local.get $id))
                (f32.store (i32.add (local.get $pkept) (local.get $at)) (f32.load (i32.add (local.get $p) (i32.shl (local.get $lane) (i32.const 2)))))
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (br_if $skip (i32.lt_u (local.get $count) (local.get $room)))
                (local.set $threshold (call $select (local.get $pids) (local.get $pkept) (local.get $count) (local.get $want)
                  (i32.add (local.get $want) (i32.shr_u (i32.sub (local.get $room) (local.get $want)) (i32.const 2))) (local.get $scratch)))
                (local.set $count (i32.load (local.get $scratch)))
                (local.set $vt (f32x4.splat (local.get $threshold))))
              (br_if $hits (local.tee $bits (i32.and (local.get $bits) (i32.sub (local.get $bits) (i32.const 1)))))))
          (br_if $each (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 4))) (local.get $n))))
        (i32.store (i32.add (local.get $counts) (local.get $point)) (local.get $count))
        (f32.store (i32.add (local.get $thresholds) (local.get $point)) (local.get $threshold))
        (local.set $list (i32.add (local.get $list) (i32.const 4)))
        (local.set $scores (i32.add (local.get $scores) (local.get $ldo)))
        (br_if $points (local.tee $here (i32.sub (local.get $here) (i32.const 1)))))))

  ;; Four bf16 numbers as f32: their bits are the upper half.
  (func $wide (param $at i32) (result v128)
    (i32x4.shl (v128.load16x4_u (local.get $at)) (i32.const 16)))

  ;; Scores of listed rows of a bf16 matrix: out[j] = z . w[ids[j]]. d a multiple of 8.
  (func $scores16 (export "scores16") (param $z i32) (param $d i32) (param $w i32) (param $ids i32) (param $n i32) (param $out i32)
    (local $end i32) (local $row i32) (local $at i32) (local $last i32) (local $s0 v128) (local $s1 v128)
    (local.set $end (i32.add (local.get $ids) (i32.shl (local.get $n) (i32.const 2))))
    (local.set $last (i32.add (local.get $z) (i32.shl (local.get $d) (i32.const 2))))
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $each
        (local.set $row (i32.add (local.get $w) (i32.mul (i32.load (local.get $ids)) (i32.shl (local.get $d) (i32.const 1)))))
        (local.set $at (local.get $z))
        (local.set $s0 (f32x4.splat (f32.const 0)))
        (local.set $s1 (f32x4.splat (f32.const 0)))
        (loop $sum
          (local.set $s0 (f32x4.add (local.get $s0) (f32x4.mul (v128.load (local.get $at)) (call $wide (local.get $row)))))
          (local.set $s1 (f32x4.add (local.get $s1) (f32x4.mul (v128.load offset=16 (local.get $at)) (call $wide (i32.add (local.get $row) (i32.const 8))))))
          (local.set $row (i32.add (local.get $row) (i32.const 16)))
          (br_if $sum (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 32))) (local.get $last))))
        (f32.store (local.get $out) (call $sum4 (f32x4.add (local.get $s0) (local.get $s1))))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br_if $each (i32.lt_u (local.tee $ids (i32.add (local.get $ids) (i32.const 4))) (local.get $end))))))

  ;; Copies row ids[j] of a bf16 matrix to the j-th row of out, as f32. d a multiple of 4.
  (func $widen (export "widen") (param $rows i32) (param $d i32) (param $ids i32) (param $n i32) (param $out i32)
    (local $from i32) (local $end i32)
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $each
        (local.set $from (i32.add (local.get $rows) (i32.mul (i32.load (local.get $ids)) (i32.shl (local.get $d) (i32.const 1)))))
        (local.set $end (i32.add (local.get $out) (i32.shl (local.get $d) (i32.const 2))))
        (loop $row
          (v128.store (local.get $out) (call $wide (local.get $from)))
          (local.set $from (i32.add (local.get $from) (i32.const 8)))
          (br_if $row (i32.lt_u (local.tee $out (i32.add (local.get $out) (i32.const 16))) (local.get $end))))
        (local.set $ids (i32.add (local.get $ids) (i32.const 4)))
        (br_if $each (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))

  ;; Upper halves of four numbers after adding noise to the lower ones, so that the mean of what is kept is the number.
  (func $noisy (param $x v128) (param $r v128) (result v128)
    (i32x4.shr_u (i32x4.add (local.get $x) (i32x4.shr_u (local.get $r) (i32.const 16))) (i32.const 16)))

  ;; Rounds the j-th f32 row of from at random to row ids[j] of a bf16 matrix; of equal neighbours among the ids the first counts.
  ;; state: four 32-bit generators (xorshift), none zero. d a multiple of 8.
  (func $narrow (export "narrow") (param $rows i32) (param $d i32) (param $ids i32) (param $n i32) (param $from i32) (param $state i32)
    (local $to i32) (local $end i32) (local $id i32) (local $last i32) (local $r v128) (local $q v128)
    (local.set $last (i32.const -1))
    (local.set $r (v128.load (local.get $state)))
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $each
        (local.set $id (i32.load (local.get $ids)))
        (local.set $end (i32.add (local.get $from) (i32.shl (local.get $d) (i32.const 2))))
        (if (i32.ne (local.get $id) (local.get $last))
          (then
            (local.set $to (i32.add (local.get $rows) (i32.mul (local.get $id) (i32.shl (local.get $d) (i32.const 1)))))
            (loop $row
              (local.set $r (v128.xor (local.get $r) (i32x4.shl (local.get $r) (i32.const 13))))
              (local.set $r (v128.xor (local.get $r) (i32x4.shr_u (local.get $r) (i32.const 17))))
              (local.set $r (v128.xor (local.get $r) (i32x4.shl (local.get $r) (i32.const 5))))
              (local.set $q (i32x4.shl (local.get $r) (i32.const 16)))
              (v128.store (local.get $to) (i16x8.narrow_i32x4_u
                (call $noisy (v128.load (local.get $from)) (local.get $r))
                (call $noisy (v128.load offset=16 (local.get $from)) (local.get $q))))
              (local.set $to (i32.add (local.get $to) (i32.const 16)))
              (br_if $row (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 32))) (local.get $end))))))
        (local.set $from (local.get $end))
        (local.set $last (local.get $id))
        (local.set $ids (i32.add (local.get $ids) (i32.const 4)))
        (br_if $each (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (v128.store (local.get $state) (local.get $r)))

  ;; Scores of labels from codes of 4 bits: each code names one of 16 partial scores of a table row (bytes up to 127). A block of 32
  ;; labels is [pairs][2][16] bytes, of which the lower half is the code in the even row of the table and the upper half in the odd
  ;; one; out[l] = offset[l] + scale[l] * (base + step * sum of the label's partial scores). The sum of the rows' largest is below 65536.
  (func $codes (export "codes") (param $table i32) (param $pairs i32) (param $codes i32) (param $blocks i32) (param $scales i32)
    (param $offsets i32) (param $step f32) (param $base f32) (param $out i32)
    (local $t i32) (local $end i32) (local $mask v128) (local $even v128) (local $odd v128) (local $c v128) (local $v v128)
    (local $e0 v128) (local $o0 v128) (local $e1 v128) (local $o1 v128) (local $vs v128) (local $vb v128)
    (local.set $mask (i8x16.splat (i32.const 15)))
    (local.set $vs (f32x4.splat (local.get $step)))
    (local.set $vb (f32x4.splat (local.get $base)))
    (local.set $end (i32.add (local.get $table) (i32.shl (local.get $pairs) (i32.const 5))))
    (loop $labels
      (local.set $e0 (i32x4.splat (i32.const 0)))
      (local.set $o0 (i32x4.splat (i32.const 0)))
      (local.set $e1 (i32x4.splat (i32.const 0)))
      (local.set $o1 (i32x4.splat (i32.const 0)))
      (local.set $t (local.get $table))
      (loop $sum
        (local.set $even (v128.load (local.get $t)))
        (local.set $odd (v128.load offset=16 (local.get $t)))
        (local.set $c (v128.load (local.get $codes)))
        (local.set $v (i8x16.add
          (i8x16.swizzle (local.get $even) (v128.and (local.get $c) (local.get $mask)))
          (i8x16.swizzle (local.get $odd) (v128.and (i16x8.shr_u (local.get $c) (i32.const 4)) (local.get $mask)))))
        ;; Both bytes of a 16-bit lane are added up in the one sum, the upper one alone in the other.
        (local.set $e0 (i16x8.add (local.get $e0) (local.get $v)))
        (local.set $o0 (i16x8.add (local.get $o0) (i16x8.shr_u (local.get $v) (i32.const 8))))
        (local.set $c (v128.load offset=16 (local.get $codes)))
        (local.set $v (i8x16.add
          (i8x16.swizzle (local.get $even) (v128.and (local.get $c) (local.get $mask)))
          (i8x16.swizzle (local.get $odd) (v128.and (i16x8.shr_u (local.get $c) (i32.const 4)) (local.get $mask)))))
        (local.set $e1 (i16x8.add (local.get $e1) (local.get $v)))
        (local.set $o1 (i16x8.add (local.get $o1) (i16x8.shr_u (local.get $v) (i32.const 8))))
        (local.set $codes (i32.add (local.get $codes) (i32.const 32)))
        (br_if $sum (i32.lt_u (local.tee $t (i32.add (local.get $t) (i32.const 32))) (local.get $end))))
      (local.set $e0 (i16x8.sub (local.get $e0) (i16x8.shl (local.get $o0) (i32.const 8))))
      (local.set $v (i8x16.shuffle 0 1 16 17 2 3 18 19 4 5 20 21 6 7 22 23 (local.get $e0) (local.get $o0)))
      (local.set $o0 (i8x16.shuffle 8 9 24 25 10 11 26 27 12 13 28 29 14 15 30 31 (local.get $e0) (local.get $o0)))
      (v128.store (local.get $out) (f32x4.add (v128.load (local.get $offsets)) (f32x4.mul (v128.load (local.get $scales))
        (f32x4.add (local.get $vb) (f32x4.mul (local.get $vs) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_u (local.get $v))))))))
      (v128.store offset=16 (local.get $out) (f32x4.add (v128.load offset=16 (local.get $offsets)) (f32x4.mul (v128.load offset=16 (local.get $scales))
        (f32x4.add (local.get $vb) (f32x4.mul (local.get $vs) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_u (local.get $v))))))))
      (v128.store offset=32 (local.get $out) (f32x4.add (v128.load offset=32 (local.get $offsets)) (f32x4.mul (v128.load offset=32 (local.get $scales))
        (f32x4.add (local.get $vb) (f32x4.mul (local.get $vs) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_u (local.get $o0))))))))
      (v128.store offset=48 (local.get $out) (f32x4.add (v128.load offset=48 (local.get $offsets)) (f32x4.mul (v128.load offset=48 (local.get $scales))
        (f32x4.add (local.get $vb) (f32x4.mul (local.get $vs) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_u (local.get $o0))))))))
      (local.set $e1 (i16x8.sub (local.get $e1) (i16x8.shl (local.get $o1) (i32.const 8))))
      (local.set $v (i8x16.shuffle 0 1 16 17 2 3 18 19 4 5 20 21 6 7 22 23 (local.get $e1) (local.get $o1)))
      (local.set $o1 (i8x16.shuffle 8 9 24 25 10 11 26 27 12 13 28 29 14 15 30 31 (local.get $e1) (local.get $o1)))
      (v128.store offset=64 (local.get $out) (f32x4.add (v128.load offset=64 (local.get $offsets)) (f32x4.mul (v128.load offset=64 (local.get $scales))
        (f32x4.add (local.get $vb) (f32x4.mul (local.get $vs) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_u (local.get $v))))))))
      (v128.store offset=80 (local.get $out) (f32x4.add (v128.load offset=80 (local.get $offsets)) (f32x4.mul (v128.load offset=80 (local.get $scales))
        (f32x4.add (local.get $vb) (f32x4.mul (local.get $vs) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_u (local.get $v))))))))
      (v128.store offset=96 (local.get $out) (f32x4.add (v128.load offset=96 (local.get $offsets)) (f32x4.mul (v128.load offset=96 (local.get $scales))
        (f32x4.add (local.get $vb) (f32x4.mul (local.get $vs) (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_u (local.get $o1))))))))
      (v128.store offset=112 (local.get $out) (f32x4.add (v128.load offset=112 (local.get $offsets)) (f32x4.mul (v128.load offset=112 (local.get $scales))
        (f32x4.add (local.get $vb) (f32x4.mul (local.get $vs) (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_u (local.get $o1))))))))
      (local.set $scales (i32.add (local.get $scales) (i32.const 128)))
      (local.set $offsets (i32.add (local.get $offsets) (i32.const 128)))
      (local.set $out (i32.add (local.get $out) (i32.const 128)))
      (br_if $labels (local.tee $blocks (i32.sub (local.get $blocks) (i32.const 1))))))
)
