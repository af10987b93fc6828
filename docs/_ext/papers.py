"""The literature: what docstrings cite by authors and year."""

import re

PAPERS = {
    "Achlioptas 2003": "Database-friendly random projections. J. Computer and System Sciences 66:671-687",
    "Alain & Bengio 2016": "Understanding intermediate layers using linear classifier probes. arXiv:1610.01644",
    "Alpaydin & Kaynak 1998": "Optical recognition of handwritten digits. UCI Machine Learning Repository",
    "Boehning 1992": "Multinomial logistic regression algorithm. Ann. Inst. Statistical Mathematics 44:197-200",
    "Byrd, Nocedal & Schnabel 1994": "Representations of quasi-Newton matrices and their use in limited memory "
    "methods. Mathematical Programming 63:129-156",
    "Cover & Hart 1967": "Nearest neighbor pattern classification. IEEE Trans. Information Theory 13:21-27",
    "DeVries & Taylor 2017": "Improved regularization of convolutional neural networks with cutout. arXiv:1708.04552",
    "Efron & Tibshirani 1993": "An introduction to the bootstrap. Chapman & Hall",
    "Gao et al. 2017": "A theory of multineuronal dimensionality, dynamics and measurement. bioRxiv 214262",
    "Glorot & Bengio 2010": "Understanding the difficulty of training deep feedforward neural networks. AISTATS",
    "Goodfellow et al. 2015": "Qualitatively characterizing neural network optimization problems. ICLR",
    "Golub, Heath & Wahba 1979": "Generalized cross-validation as a method for choosing a good ridge parameter. "
    "Technometrics 21:215-223",
    "Guo et al. 2017": "On calibration of modern neural networks. ICML",
    "Hastie, Tibshirani & Friedman 2009": "The elements of statistical learning, second edition. Springer",
    "He et al. 2015": "Delving deep into rectifiers: surpassing human-level performance on ImageNet classification. "
    "ICCV",
    "He et al. 2016": "Deep residual learning for image recognition. CVPR",
    "Hendrycks & Dietterich 2019": "Benchmarking neural network robustness to common corruptions and perturbations. "
    "ICLR",
    "Hewitt & Liang 2019": "Designing and interpreting probes with control tasks. EMNLP",
    "Im et al. 2016": "An empirical analysis of deep network loss surfaces. arXiv:1612.04010",
    "Johnson & Lindenstrauss 1984": "Extensions of Lipschitz mappings into a Hilbert space. "
    "Contemporary Mathematics 26:189-206",
    "Keskar et al. 2017": "On large-batch training for deep learning: generalization gap and sharp minima. ICLR",
    "Kornblith et al. 2019": "Similarity of neural network representations revisited. ICML",
    "Krizhevsky 2009": "Learning multiple layers of features from tiny images. Technical report, University of Toronto",
    "Krizhevsky et al. 2012": "ImageNet classification with deep convolutional neural networks. NIPS",
    "LeCun et al. 1998": "Gradient-based learning applied to document recognition. Proc. IEEE 86:2278-2324",
    "Li et al. 2018": "Visualizing the loss landscape of neural nets. NeurIPS",
    "Lu et al. 2020": "Harder or different? A closer look at distribution shift in dataset reproduction. "
    "ICML workshop on uncertainty and robustness in deep learning",
    "McNemar 1947": "Note on the sampling error of the difference between correlated proportions or percentages. "
    "Psychometrika 12:153-157",
    "Neelakantan et al. 2015": "Adding gradient noise improves learning for very deep networks. arXiv:1511.06807",
    "Newcombe 1998": "Improved confidence intervals for the difference between binomial proportions based on paired "
    "data. Statistics in Medicine 17:2635-2650",
    "Nguyen, Raghu & Kornblith 2021": "Do wide and deep networks learn the same things? Uncovering how neural network "
    "representations vary with width and depth. ICLR",
    "Nocedal & Wright 2006": "Numerical optimization, second edition. Springer",
    "Papyan, Han & Donoho 2020": "Prevalence of neural collapse during the terminal phase of deep learning training. "
    "PNAS 117:24652-24663",
    "Patrini et al. 2017": "Making deep neural networks robust to label noise: a loss correction approach. CVPR",
    "Peterson et al. 2019": "Human uncertainty makes classification more robust. ICCV",
    "Polyak 1964": "Some methods of speeding up the convergence of iteration methods. "
    "USSR Computational Mathematics and Mathematical Physics 4:1-17",
    "Recht et al. 2018": "Do CIFAR-10 classifiers generalize to CIFAR-10? arXiv:1806.00451",
    "Roy & Vetterli 2007": "The effective rank: a measure of effective dimensionality. EUSIPCO, pp. 606-610",
    "Saxe et al. 2014": "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks. ICLR",
    "Simonyan & Zisserman 2015": "Very deep convolutional networks for large-scale image recognition. ICLR",
    "Song et al. 2012": "Feature selection via dependence maximization. JMLR 13:1393-1434",
    "Sussillo & Abbott 2014": "Random walk initialization for training very deep feedforward networks. arXiv:1412.6558",
    "Urban et al. 2017": "Do deep convolutional nets really need to be deep and convolutional? ICLR",
    "Wei et al. 2022": "Learning with noisy labels revisited: a study using real-world human annotations. ICLR",
    "Wilson 1927": "Probable inference, the law of succession, and statistical inference. JASA 22:209-212",
    "Wu et al. 2018": "Unsupervised feature learning via non-parametric instance discrimination. CVPR",
    "Xiao et al. 2017": "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms. "
    "arXiv:1708.07747",
    "Yu, Huang & Lin 2011": "Dual coordinate descent methods for logistic regression and maximum entropy models. "
    "Machine Learning 85:41-75",
    "Zagoruyko & Komodakis 2016": "Wide residual networks. BMVC",
    "Zhang et al. 2017": "Understanding deep learning requires rethinking generalization. ICLR",
}
CITED = re.compile("|".join(rf"{re.escape(paper[:-5])} \(?{paper[-4:]}" for paper in PAPERS))


def papers() -> str:
    """All of them, as Markdown: a paragraph each, to which citations lead."""
    return "\n\n".join(f"({_target(paper)})=\n**{paper}**: {title}." for paper, title in PAPERS.items())


def linked(text: str) -> str:
    """A text, as Markdown, whose citations lead to the paper.

    Args:
        text: Without code.
    """
    return CITED.sub(lambda cited: f"[{cited[0]}](#{_target(cited[0])})", text)


def cited(text: str) -> list[str]:
    """The papers that a text cites, in order."""
    return list(dict.fromkeys(found[0].replace("(", "") for found in CITED.finditer(" ".join(text.split()))))


def _target(paper: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", paper.lower()))
